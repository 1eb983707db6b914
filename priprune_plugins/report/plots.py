"""The charts of a report as files, for papers and talks: PNG and PDF, drawn by matplotlib, the extra ``plots``.

The page itself is never drawn by matplotlib: it must be written where that is not installed, and an SVG of ours takes
the reader's colours. Both draw the same :class:`~priprune_plugins.report.chart.Chart`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from priprune_plugins.errors import missing_extra
from priprune_plugins.report.chart import Chart

if TYPE_CHECKING:
    from priprune_plugins.report.figure_pictures import Sheet

FORMATS = ("png", "pdf")
_OURS = re.compile(r"\d\d-[a-z0-9-]*\.(png|pdf)")
# Without the time and the program's version, the same figures give the same file.
_METADATA: Mapping[str, Mapping[str, Any]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}


def check_matplotlib() -> None:
    """Refuse where plots cannot be drawn, before anything is.

    Raises:
        ScenarioError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise missing_extra("--plots", "matplotlib", "plots") from error


def write_plots(folder: Path, drawn: "Iterable[Chart | Sheet]", formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write every chart and sheet of pictures into ``plots/``, numbered in the order of the page.

    Args:
        folder: The run's or the sweep's folder; plots of an earlier time are replaced.
        drawn: What the page shows.
        formats: ``png``, ``pdf`` or both.

    Returns:
        The files.

    Raises:
        ScenarioError: matplotlib is not installed.
    """
    check_matplotlib()
    from priprune_plugins.report.plot_drawing import figure_of

    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    for path in plots.iterdir():
        if _OURS.fullmatch(path.name):
            path.unlink()
    written = []
    for number, shown in enumerate(drawn, start=1):
        figure = figure_of(shown)
        for kind in formats:
            path = plots / f"{number:02d}-{_slug(shown.title)}.{kind}"
            figure.savefig(path, format=kind, dpi=200, bbox_inches="tight", metadata=dict(_METADATA[kind]))
            written.append(path)
    return written


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60]
