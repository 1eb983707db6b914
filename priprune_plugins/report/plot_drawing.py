"""A chart or a sheet of pictures as a matplotlib figure; no global state of matplotlib is read or changed."""

from functools import singledispatch
from typing import Any

from matplotlib.figure import Figure

from priprune_plugins.report.chart import Chart
from priprune_plugins.report.figure_pictures import Picture, Sheet
from priprune_plugins.report.pictures import picture
from priprune_plugins.report.series import Series

COLOURS = ("#0b62a4", "#c2530a", "#2c7f4f", "#8b3f8f", "#a3352e", "#6a6413")
_MUTED = "#5b636d"
_MARKERS = ("o", "s", "D", "^")
_MOST_MARKERS = 24
_BARS_SHARE = 0.8


@singledispatch
def figure_of(shown: Any) -> Any:
    """Return the matplotlib figure of a chart or a sheet."""
    raise TypeError(f"cannot plot a {type(shown).__name__}")


@figure_of.register
def _(chart: Chart) -> Any:
    figure = Figure(figsize=(5.2, 3.2))
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#ecebe5")
    axes.set_axisbelow(True)
    axes.set_title(chart.title, fontsize=10, loc="left")
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    drawn = chart.drawn()
    in_bars = [series for series in drawn if series.kind == "bar"]
    for series in drawn:
        _draw(axes, series, in_bars)
    _limits(axes, chart)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    return figure


def _limits(axes: Any, chart: Chart) -> None:
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.0) if chart.from_zero and low > 0 else low, max(high, chart.top or high))
    axes.yaxis.set_major_formatter(lambda value, _: chart.number(value))
    if chart.x_names:
        axes.set_xticks(range(len(chart.x_names)), chart.x_names)
    else:
        axes.xaxis.set_major_formatter(lambda value, _: chart.x_number(value))


def _draw(axes: Any, series: Series, in_bars: list[Series]) -> None:
    xs, ys = [x for x, _ in series.points], [y for _, y in series.points]
    colour = COLOURS[series.shade]
    if series.kind == "floor":
        style = {"color": _MUTED, "linestyle": "--", "linewidth": 1.2, "label": series.name}
        _ = axes.axhline(ys[0], **style) if len(set(xs)) == 1 else axes.plot(xs, ys, **style)
    elif series.kind == "dots":
        axes.plot(xs, ys, ".", color=colour, alpha=0.45)
    elif series.kind == "bar":
        width = _BARS_SHARE / len(in_bars)
        places = [x + (in_bars.index(series) - (len(in_bars) - 1) / 2) * width for x in xs]
        axes.bar(places, ys, width, color=colour, label=series.name, yerr=_errors(series.points, series.y_ranges, 1))
    else:
        _draw_line(axes, series, xs, ys, colour)


def _draw_line(axes: Any, series: Series, xs: list[float], ys: list[float], colour: str) -> None:
    style = {"color": colour, "label": series.name}
    if series.kind == "line" and len(xs) > _MOST_MARKERS:
        axes.plot(xs, ys, **style)
        if series.y_ranges:
            lows, highs = zip(*series.y_ranges, strict=True)
            axes.fill_between(xs, lows, highs, color=colour, alpha=0.16, linewidth=0)
        return
    form = _MARKERS[series.colour % len(_MARKERS)] if series.kind == "points" else "o-"
    y_errors = _errors(series.points, series.y_ranges, 1)
    axes.errorbar(xs, ys, yerr=y_errors, xerr=_errors(series.points, series.x_ranges, 0), fmt=form, ms=5, **style)


def _errors(points: Any, ranges: Any, coordinate: int) -> list[list[float]] | None:
    """Return how far the ranges reach below and above the points, as matplotlib wants them."""
    if not any(high > low for low, high in ranges):
        return None
    values = [point[coordinate] for point in points]
    below = [max(0.0, value - low) for value, (low, _) in zip(values, ranges, strict=True)]
    above = [max(0.0, high - value) for value, (_, high) in zip(values, ranges, strict=True)]
    return [below, above]


@figure_of.register
def _(sheet: Sheet) -> Any:
    most = max(len(row) for row in sheet.rows.values())
    figure = Figure(figsize=(1.1 * most + 1.2, 2.5 * len(sheet.rows)))
    figure.suptitle(sheet.title, fontsize=10)
    figure.subplots_adjust(hspace=0.35)
    grid = figure.subplots(2 * len(sheet.rows), most, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for index, (series, row) in enumerate(sheet.rows.items()):
        for column, one in enumerate(row):
            _draw_pair(grid[2 * index][column], grid[2 * index + 1][column], one)
        grid[2 * index][0].text(-0.1, 0.0, series, fontsize=8, ha="right", transform=grid[2 * index][0].transAxes)
    return figure


def _draw_pair(above: Any, below: Any, one: Picture) -> None:
    for axes, image in ((above, one.truth), (below, one.guess)):
        axes.imshow(picture(image).convert("RGB"), interpolation="nearest")
    above.set_title(one.place, fontsize=8)
    below.text(0.5, -0.08, one.caption, fontsize=7, ha="center", va="top", transform=below.transAxes)
