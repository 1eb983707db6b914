"""Whole runs: from a checked scenario to a run folder."""

from priprune_plugins.run.attack_again import attack_run, finish_attacks
from priprune_plugins.run.runner import run_scenario
from priprune_plugins.run.watcher import Watcher

__all__ = ["Watcher", "attack_run", "finish_attacks", "run_scenario"]
