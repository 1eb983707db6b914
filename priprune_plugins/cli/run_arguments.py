"""The arguments of ``priprune run``."""

import argparse
from pathlib import Path
from typing import Any

from priprune_plugins.cli.counts import count

HELP = "run a scenario"
TEXT = """\
Train, keep the uploads that are attacked, attack them, measure, write the report.

The folder holds scenario.yaml (every default written out), rounds.jsonl,
privacy.jsonl, captures/, reconstructions/, summary.json and report.html.
"""
EXAMPLES = """\
examples:
  priprune run configs/quickstart.yaml
  priprune run configs/quickstart.yaml --set rounds=10 --set 'attacks=[{name: gi}]'
  priprune run configs/quickstart.yaml --set attacks[0].iterations=50 --out runs/short
  priprune run runs/short/scenario.yaml --out runs/short --resume
  priprune run configs/quickstart.yaml --ray local --workers 2
"""
_SET = "replace or add a value of the scenario, PATH=YAML, for instance pruner.rate=0.5; may be repeated"
_RAY = "let workers on a Ray cluster train the clients: its address, auto, or local to start one; needs the extra ray"
_WORKERS = "Ray workers (default: as many as the cluster has CPUs for); no figure depends on their number"
_THREADS = "CPU threads of each worker (default: 1); with as many, a run without Ray gives the same bits"


def add_run_arguments(parser: Any) -> None:
    """Add the arguments of ``priprune run``."""
    parser.add_argument("scenario", type=Path, help="a YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=YAML", help=_SET)
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder to make (default: runs/<name>)")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run folder where its last checkpoint left it"
    )
    parser.add_argument("--ray", metavar="ADDRESS", help=_RAY)
    parser.add_argument("--workers", type=count, metavar="N", help=_WORKERS)
    parser.add_argument("--threads", type=count, metavar="N", help=_THREADS)
    parser.add_argument("--quiet", action="store_true", help="no progress, no closing table")


def crew_refused(arguments: argparse.Namespace) -> str | None:
    """Return what is wrong with the options of a crew, or None."""
    given = [f"--{name}" for name in ("workers", "threads") if getattr(arguments, name) is not None]
    return f"{given[0]} needs --ray ADDRESS, for instance --ray local" if given and arguments.ray is None else None


def check_ray(arguments: argparse.Namespace) -> None:
    """Check ``--ray`` before anything that takes long is imported.

    Raises:
        ScenarioError: No Ray is installed, or no cluster is at that address.
    """
    if arguments.ray is not None:
        from priprune_plugins.cluster.session import check_reachable

        check_reachable(arguments.ray)
