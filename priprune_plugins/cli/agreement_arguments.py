"""The arguments of ``priprune agreement``; importing this module imports no torch."""

from pathlib import Path
from typing import Any

HELP = "how far the privacy measures of several runs agree"
TEXT = """\
Rank correlations (Spearman, Kendall) of NMI, KL divergence and min-entropy leakage
with PSNR and with the rank of the true image, over the attacked uploads of several
runs and over methods (one method = one run and one attack); how each figure orders
the methods; and which of them the printed bound is nearest to, where priprune bound
has left a bound.json.
"""
EXAMPLES = """\
examples:
  priprune agreement runs/base runs/largest runs/random runs/priprune
  priprune agreement runs/* --attack sgi --identify gradient_identification
"""


def add_agreement_arguments(command: Any) -> None:
    """Add the arguments to a subparser."""
    command.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help="a run folder; best several")
    command.add_argument(
        "--attack", action="append", metavar="NAME", help="count this attack only; may be repeated (default: all)"
    )
    command.add_argument("--identify", metavar="NAME", help="whose ranks (default: the only attack that ranks)")
    command.add_argument(
        "--with-void", action="store_true", help="count rounds whose positive control failed as well: they say nothing"
    )
    command.add_argument("--json", action="store_true", help="print JSON")
