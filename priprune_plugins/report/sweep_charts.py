"""The curves of a sweep: privacy against accuracy, and each figure along the axes that hold numbers."""

from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import Any

from priprune_plugins.report.chart import Chart, Point, Series
from priprune_plugins.report.sweep_files import Row, SweepFiles
from priprune_plugins.report.sweep_matrix import SEED, Matrix, pruner_of
from priprune_plugins.report.training_charts import percent

_COLOURS = 6


def tradeoff(matrix: Matrix) -> Chart:
    """Return NMI against accuracy, a line per defence along the pruners."""
    series = []
    for colour, defense in enumerate(matrix.defenses):
        squares = [
            matrix.squares[key] for key in ((pruner, defense) for pruner in matrix.pruners) if key in matrix.squares
        ]
        found = [(square.accuracy, square.mean("nmi")) for square in squares]
        points = sorted((100 * a, nmi) for a, nmi in found if a is not None and nmi is not None)
        series.append(Series(defense, _visible(points), colour=colour % _COLOURS))
    where = f", {matrix.where}" if matrix.where else ""
    return Chart(
        f"{matrix.attack}{where}: NMI against accuracy", "NMI; higher leaks more", series, x_label="accuracy, %"
    )


def along_axes(files: SweepFiles) -> list[Chart]:
    """Return accuracy, and per attack PSNR, along every axis of two or more numbers, means over seeds."""
    charts = []
    for path in files.axes:
        if path != SEED and len({row[path] for row in files.rows if _is_number(row.get(path))}) > 1:
            charts += _along(files, path)
    return [chart for chart in charts if is_curve(chart)]


def is_curve(chart: Chart) -> bool:
    """Whether a chart has two different places along its horizontal axis."""
    return len({x for series in chart.series for x, _ in series.points}) > 1


def _along(files: SweepFiles, path: str) -> list[Chart]:
    name = files.short[path]
    cells = {str(row["cell"]): row for row in files.rows}.values()
    accuracy = _series(files, path, cells, lambda row: row.get("accuracy"))
    charts = [Chart(f"Accuracy along {name}", "percent", accuracy, top=1.0, number=percent, x_label=path)]
    for attack in dict.fromkeys(row["attack"] for row in files.rows if row["attack"] is not None):
        rows = [row for row in files.rows if row["attack"] == attack and row.get("control_passed") is True]
        series = _series(files, path, rows, lambda row: row.get("psnr_db"))
        charts.append(Chart(f"PSNR of {attack} along {name}", "dB; higher leaks more", series, x_label=path))
    return charts


def _series(files: SweepFiles, path: str, rows: Iterable[Row], figure: Callable[[Row], Any]) -> list[Series]:
    lines: dict[str, dict[float, list[float]]] = {}
    others = [other for other in files.axes if other not in (path, SEED)]
    for row in rows:
        value = figure(row)
        if value is not None and _is_number(row.get(path)):
            name = files.in_words(row, others) or pruner_of(files, row)
            lines.setdefault(name, {}).setdefault(float(row[path]), []).append(float(value))
    return [
        Series(_last_word(name), _visible(_means(values)), colour=index % _COLOURS)
        for index, (name, values) in enumerate(lines.items())
    ]


def _means(values: Mapping[float, list[float]]) -> list[Point]:
    return [(x, fmean(own)) for x, own in sorted(values.items())]


def _visible(points: list[Point]) -> list[Point]:
    # A line of one point would be drawn as a level; twice the same point is a dot.
    return points * 2 if len(points) == 1 else points


def _last_word(name: str) -> str:
    """Return ``largest`` for ``defenses=largest``: a name at a line's end has little room."""
    return ", ".join(part.partition("=")[2] or part for part in name.split(", "))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
