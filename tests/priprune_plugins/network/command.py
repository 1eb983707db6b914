"""A priprune command in a process forked from one that has imported torch; its words go to a file."""

import os
import sys

from priprune_plugins.cli import main

asked = globals()
log = os.open(asked["LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.dup2(log, 1)
os.dup2(log, 2)
sys.exit(main(asked["ARGV"]))
