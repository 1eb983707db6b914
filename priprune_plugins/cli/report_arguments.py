"""The arguments of ``priprune report``."""

import argparse
from pathlib import Path
from typing import Any

HELP = "draw the report of a run or a sweep anew"
TEXT = """\
Draw report.html of a run or a sweep anew, from the files of its folder and nothing else.

With --plots, every plot of the page is also written into plots/, as PNG and PDF for papers
and talks; that needs the extra plots (matplotlib).
"""
EXAMPLES = """\
examples:
  priprune report runs/quickstart
  priprune report runs/digits --plots
  priprune report runs/digits --plots pdf
"""
_FORMATS = ("png", "pdf")


def add_report_arguments(parser: Any) -> None:
    """Add the arguments of ``priprune report``."""
    parser.add_argument("run", type=Path, help="a run's or a sweep's folder")
    parser.add_argument(
        "--plots",
        type=_formats,
        nargs="?",
        const=_FORMATS,
        default=(),
        metavar="FORMATS",
        help="write every plot into plots/ too: png, pdf or png,pdf (default: both)",
    )


def _formats(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(text.split(",")))
    if not set(found) <= set(_FORMATS):
        raise argparse.ArgumentTypeError(f"must be png, pdf or png,pdf, got {text[:60]!r}; the folder comes first")
    return found
