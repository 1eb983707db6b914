"""Puts the report of a sweep together: reads its folder, writes ``report.html``."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from priprune_plugins.report.chart import draw
from priprune_plugins.report.headline import versions_of
from priprune_plugins.report.page import template
from priprune_plugins.report.sweep_charts import along_axes, is_curve, tradeoff
from priprune_plugins.report.sweep_files import Row, SweepFiles, read_sweep_folder
from priprune_plugins.report.sweep_headline import finding, sentence, tiles
from priprune_plugins.report.sweep_matrix import margin_db, matrices


def write_sweep_report(folder: Path) -> Path:
    """Write ``report.html`` into a sweep's folder, from its own files; cells have reports of their own.

    Raises:
        ScenarioError: The folder is no sweep's.
    """
    page = template("sweep_template.html").render(**_content(read_sweep_folder(folder)))
    path = folder / "report.html"
    temporary = path.with_name("report.html.part")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


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
        "tradeoffs": [(chart.title, draw(chart)) for chart in tradeoffs],
        "curves": [(chart.title, draw(chart)) for chart in along_axes(files)],
        "rows": _worst_first(files),
        "ranked": any(row.get("top1_share") is not None for row in files.rows),
        "text": files.text,
        "versions": versions_of(files.environment),
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
