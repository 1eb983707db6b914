"""Puts the report of a sweep together: reads its folder, writes ``report.html``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from priprune_plugins.report.chart import Chart
from priprune_plugins.report.figure_charts import figure_charts
from priprune_plugins.report.figure_pictures import Sheet, figure_sheet
from priprune_plugins.report.figure_rows import void
from priprune_plugins.report.headline import versions_of
from priprune_plugins.report.page import write_page
from priprune_plugins.report.plots import write_plots
from priprune_plugins.report.sweep_charts import along_axes, is_curve, tradeoff
from priprune_plugins.report.sweep_files import Row, SweepFiles, read_sweep_folder
from priprune_plugins.report.sweep_headline import finding, sentence, tiles
from priprune_plugins.report.sweep_matrix import margin_db, matrices
from priprune_plugins.sweep.figures import Figure


def write_sweep_report(folder: Path, plots: Sequence[str] = ()) -> Path:
    """Write ``report.html`` into a sweep's folder, from its own files; cells have reports of their own.

    Args:
        folder: The sweep's folder.
        plots: Formats in which every plot of the page is written into ``plots/`` too: ``png``, ``pdf``.

    Raises:
        ScenarioError: The folder is no sweep's, or plots are wanted and matplotlib is absent.
    """
    content = _content(read_sweep_folder(folder))
    if plots:
        write_plots(folder, _plotted(content), plots)
    return write_page("sweep_template.html", content, folder)


def _plotted(content: Mapping[str, Any]) -> list[Chart | Sheet]:
    figures: list[Chart | Sheet] = []
    for entry in content["figures"]:
        figures += entry["charts"] or ([entry["sheet"]] if entry["sheet"] and entry["sheet"].rows else [])
    return [*figures, *content["tradeoffs"], *content["curves"]]


def _content(files: SweepFiles) -> dict[str, Any]:
    found = matrices(files)
    tradeoffs = [chart for chart in map(tradeoff, found) if is_curve(chart)]
    labels = {point["key"]: point["label"] for point in files.points}
    return {
        "name": files.name,
        "sentence": sentence(files),
        "finding": finding(found),
        "tiles": tiles(files),
        "notes": files.notes,
        "failed": [(labels[key], error) for key, error in files.failed.items()],
        "matrices": found,
        "figures": [_figure(files, figure) for figure in files.figures],
        "tradeoffs": tradeoffs,
        "curves": along_axes(files),
        "rows": _worst_first(files),
        "ranked": any(row.get("top1_share") is not None for row in files.rows),
        "text": files.text,
        "versions": versions_of(files.environment),
    }


def _figure(files: SweepFiles, figure: Figure) -> dict[str, Any]:
    pictures = figure.kind == "reconstructions"
    return {
        "figure": figure,
        "charts": [] if pictures else figure_charts(files, figure),
        "sheet": figure_sheet(files, figure) if pictures else None,
        "void": void(files, figure),
    }


def _worst_first(files: SweepFiles) -> list[dict[str, Any]]:
    rows = [_shown(files, row) for row in files.rows]
    return sorted(rows, key=lambda row: (row["void"], -(row["figures"].get("nmi") or 0.0)))


def _shown(files: SweepFiles, row: Row) -> dict[str, Any]:
    return {
        "label": files.in_words(row, files.axes),
        "report": f"cells/{quote(Path(str(row['folder'])).name)}/report.html",
        "figures": row,
        "margin_db": margin_db(row),
        "void": row["attack"] is not None and row.get("control_passed") is not True,
    }
