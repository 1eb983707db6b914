"""The arguments of ``priprune sweep``."""

from pathlib import Path
from typing import Any

from priprune_plugins.cli.counts import count

HELP = "run many scenarios from one file, each of them once"
TEXT = """\
Run a base scenario at every combination of a sweep file's axes. All cells are checked
before the first one runs. A cell that is done never runs again; one that fails is
recorded and the others go on.

The folder holds results.csv and results.jsonl (a line per cell and attack, every axis
a column), report.html, ledger.jsonl and cells/, one run folder each.
"""
EXAMPLES = """\
a sweep file:
  base: ../quickstart.yaml
  grid:
    pruner.rate: [0.1, 0.3]
    defenses: [[], [{name: largest, rate: 0.3}]]
    seed: [1, 2, 3]
  exclude:
    - {pruner.rate: 0.1, defenses: largest}

examples:
  priprune sweep configs/sweeps/digits.yaml --dry-run
  priprune sweep configs/sweeps/digits.yaml --workers 2
  priprune sweep configs/sweeps/digits.yaml --resume
  priprune sweep configs/sweeps/digits.yaml --ray local

exit codes: 0 all cells are done, 1 a cell failed, 2 the input is wrong and nothing ran
"""
_SET = "replace or add a value of the base scenario, PATH=YAML, for instance rounds=5; may be repeated"
_RAY = "run the cells on a Ray cluster: its address, auto, or local to start one; needs the extra ray"


def add_sweep_arguments(parser: Any) -> None:
    """Add the arguments of ``priprune sweep``."""
    parser.add_argument("sweep", type=Path, help="a YAML file with base and grid")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=count, metavar="N", help="cells at a time (default: one per GPU, else per core)"
    )
    where.add_argument("--ray", metavar="ADDRESS", help=_RAY)
    parser.add_argument("--resume", action="store_true", help="go on with a sweep that was stopped or changed")
    parser.add_argument("--dry-run", action="store_true", help="check and list the cells with their keys and states")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=YAML", help=_SET)
    parser.add_argument("--out", type=Path, metavar="DIR", help="the sweep's folder (default: runs/<name>)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
