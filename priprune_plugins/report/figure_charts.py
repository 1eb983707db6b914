"""The figures that a sweep's file asks for, as charts: means over seeds with error bars, floors as dashed lines."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from priprune_plugins.report.chart import Chart
from priprune_plugins.report.figure_rounds import round_chart
from priprune_plugins.report.figure_rows import grouped, label, panels, points, shown, x_names
from priprune_plugins.report.measure_axes import Axis, axis_of
from priprune_plugins.report.reduction import Reduced, reduced
from priprune_plugins.report.series import Series
from priprune_plugins.report.sweep_files import Row, SweepFiles
from priprune_plugins.sweep.figures import Figure, is_measure

FLOOR = "best floor"
_KINDS = {"bar": "bar", "scatter": "points", "line": "line"}
_FLOORS: Mapping[str, Callable[[Row], float | None]] = {
    "psnr_db": lambda row: row.get("best_floor_psnr_db"),
    "nmi": lambda row: row.get("best_floor_nmi"),
    # Whoever guesses puts the true image first as often as chance does.
    "top1_share": lambda row: 1 / row["candidates"] if row.get("candidates") else None,
}


def figure_charts(files: SweepFiles, figure: Figure) -> list[Chart]:
    """Return one chart per panel that has something to draw.

    Args:
        files: The sweep's folder; the curves of ``over: rounds`` are read from its cells.
        figure: What is asked for, pictures excepted.
    """
    rows = shown(files, figure)
    names = x_names(files, figure, rows)
    # A series has one colour in all panels, also where another is missing from one.
    colours = list(grouped(files, figure, rows))
    found = [
        round_chart(files, figure, title, own, colours)
        if figure.over == "rounds"
        else _chart(files, figure, title, own, names, colours)
        for title, own in panels(files, figure, rows)
    ]
    return [chart for chart in found if chart.drawable()]


def _chart(
    files: SweepFiles, figure: Figure, title: str, rows: Sequence[Row], names: Sequence[str], colours: Sequence[str]
) -> Chart:
    x, y = _axis(str(figure.x), rows), _axis(figure.y, rows)

    def across(own: Sequence[Row]) -> Reduced:
        if names:
            return _exactly(float(names.index(label(files, own[0], str(figure.x)))))
        return reduced([float(row[str(figure.x)]) / x.factor for row in own], figure.reduce)

    drawn = []
    for name, own in grouped(files, figure, rows).items():
        found = [(across(point), _up(point, figure, y)) for point in points(files, figure, own)]
        drawn.append(_series(name, figure, colours.index(name), sorted(found, key=lambda pair: pair[0].value)))
    return Chart(
        title,
        y.label,
        [*_floor(files, figure, rows, across, drawn), *drawn],
        number=y.number,
        x_label=x.label,
        x_names=names,
        x_number=x.number,
    )


def _axis(name: str, rows: Sequence[Row]) -> Axis:
    if not is_measure(name):
        return Axis(name)
    levels = next((row["nmi_levels"] for row in rows if row.get("nmi_levels")), None)
    return axis_of(name, [float(row[name]) for row in rows if row.get(name) is not None], levels)


def _up(rows: Sequence[Row], figure: Figure, axis: Axis) -> Reduced:
    return reduced([float(row[figure.y]) / axis.factor for row in rows], figure.reduce)


def _exactly(value: float) -> Reduced:
    return Reduced(value, value, value)


def _series(name: str, figure: Figure, colour: int, found: Sequence[tuple[Reduced, Reduced]]) -> Series:
    measured = figure.x is not None and is_measure(figure.x)
    return Series(
        name,
        [(x.value, y.value) for x, y in found],
        _KINDS[figure.kind],
        colour,
        y_ranges=[(y.low, y.high) for _, y in found],
        x_ranges=[(x.low, x.high) for x, _ in found] if measured else (),
    )


def _floor(
    files: SweepFiles,
    figure: Figure,
    rows: Sequence[Row],
    across: Callable[[Sequence[Row]], Reduced],
    drawn: Sequence[Series],
) -> list[Series]:
    """Return the level that a measure must be told apart from: at each place, or one where places are measured."""
    of = _FLOORS.get(figure.y)
    known = [(row, floor) for row in rows if of is not None and (floor := of(row)) is not None]
    if not known:
        return []
    if figure.x is not None and is_measure(figure.x):
        ends = [x for series in drawn for x in series.xs()]
        height = fmean(floor for _, floor in known)
        return [Series(FLOOR, [(min(ends), height), (max(ends), height)], "floor")]
    places: dict[float, list[float]] = {}
    for row, floor in known:
        places.setdefault(across([row]).value, []).append(floor)
    # Bars are as wide as their place, and so is what they are held against.
    reach = (-0.5, 0.5) if figure.kind == "bar" else (0.0,)
    level = [(x + side, fmean(floors)) for x, floors in sorted(places.items()) for side in reach]
    return [Series(FLOOR, level, "floor")]
