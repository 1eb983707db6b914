"""A line chart as inline SVG: axes, ticks, units, and a name at the end of every line in place of a legend."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from priprune_plugins.report.numbers import short
from priprune_plugins.report.scale import Scale, fitted

Point = tuple[float, float]
WIDTH, HEIGHT = 460, 272
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 356, 30, 228
_LABEL_GAP = 13.5
_MOST_POINTS = 400
_MOST_MARKERS = 24


@dataclass(frozen=True)
class Series:
    """One line.

    Args:
        name: Written at the line's end.
        points: ``(x, y)``, x ascending.
        kind: ``line``, ``floor`` (dashed, muted) or ``dots`` (unconnected, unnamed).
        colour: Which of the page's six colours.
    """

    name: str
    points: Sequence[Point]
    kind: str = "line"
    colour: int = 0


@dataclass(frozen=True)
class Chart:
    """A chart to draw.

    Args:
        title: What it shows, in words; also the SVG's text alternative.
        y_label: Quantity and unit of the vertical axis.
        series: The lines; those without points are left out.
        from_zero: Whether the vertical axis must hold 0.
        top: A value that the vertical axis must hold, 1 for a share.
        number: How a tick's number is written.
        x_label: Quantity of the horizontal axis; its ticks are whole numbers where it is ``round``.
    """

    title: str
    y_label: str
    series: Sequence[Series]
    from_zero: bool = True
    top: float | None = None
    number: Callable[[float], str] = short
    x_label: str = "round"

    def drawable(self) -> bool:
        """Return whether there is any point to draw."""
        return any(series.points for series in self.series)


def draw(chart: Chart) -> Markup:
    """Return the chart as an SVG element; every text in it is escaped."""
    series = [Series(s.name, thinned(s.points), s.kind, s.colour) for s in chart.series if s.points]
    x, y = _scales(chart, [point for s in series for point in s.points])
    body = Markup("").join([_grid(chart, x, y), *(_line(s, x, y) for s in series), _names(series, x, y)])
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>{}</svg>').format(
        WIDTH, HEIGHT, chart.title, chart.title, body
    )


def thinned(points: Sequence[Point]) -> list[Point]:
    """Return at most about 400 of the points, evenly spaced, the last one always among them."""
    stride = -(-len(points) // _MOST_POINTS) or 1
    return [*points[:-1:stride], points[-1]] if points else []


def _scales(chart: Chart, points: Sequence[Point]) -> tuple[Scale, Scale]:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    low = min([*ys, 0.0] if chart.from_zero else ys)
    high = max(ys if chart.top is None else [*ys, chart.top])
    x = fitted(min(xs), max(xs), _LEFT + 8, _RIGHT - 8, ticks=6, whole=chart.x_label == "round")
    return x, fitted(low, high, _BOTTOM, _TOP, ticks=5)


def _grid(chart: Chart, x: Scale, y: Scale) -> Markup:
    rows = [
        Markup('<path class="grid" d="M{} {:.1f}H{}"/><text class="tick end" x="{}" y="{:.1f}">{}</text>').format(
            _LEFT, y(tick), _RIGHT, _LEFT - 6, y(tick) + 4, chart.number(tick)
        )
        for tick in y.ticks()
    ]
    columns = [
        Markup('<path class="axis" d="M{:.1f} {}v4"/><text class="tick mid" x="{:.1f}" y="{}">{}</text>').format(
            x(tick), _BOTTOM, x(tick), _BOTTOM + 17, short(tick)
        )
        for tick in x.ticks()
    ]
    axes = Markup('<path class="axis" d="M{} {}H{}"/>').format(_LEFT, _BOTTOM, _RIGHT)
    label = Markup('<text class="unit mid" x="{}" y="{}">{}</text>').format(
        (_LEFT + _RIGHT) / 2, _BOTTOM + 36, chart.x_label
    )
    unit = Markup('<text class="unit" x="{}" y="13">{}</text>').format(_LEFT, chart.y_label)
    return Markup("").join([*rows, *columns, axes, label, unit])


def _line(series: Series, x: Scale, y: Scale) -> Markup:
    places = [(x(a), y(b)) for a, b in series.points]
    path = Markup("")
    if series.kind != "dots":
        d = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in _level(places))
        path = Markup('<path class="{} c{}" d="{}"/>').format(series.kind, series.colour, d)
    if series.kind == "floor" or (series.kind == "line" and len(places) > _MOST_MARKERS):
        return path
    radius = 3.2 if series.kind == "line" else 2.4
    marks = (
        Markup('<circle class="{} c{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(
            "mark" if series.kind == "line" else "dot", series.colour, a, b, radius
        )
        for a, b in places
    )
    return path + Markup("").join(marks)


def _level(places: Sequence[Point]) -> list[Point]:
    if len(places) > 1:
        return list(places)
    # One round only: a floor is still a level to compare with, so it is drawn as a short stroke.
    (a, b) = places[0]
    return [(a - 30, b), (a + 30, b)]


def _names(series: Sequence[Series], x: Scale, y: Scale) -> Markup:
    named = sorted((s for s in series if s.kind != "dots"), key=lambda s: y(s.points[-1][1]))
    heights = spread([y(s.points[-1][1]) for s in named], _TOP, _BOTTOM)
    return Markup("").join(_name(s, x, y, height) for s, height in zip(named, heights, strict=True))


def _name(series: Series, x: Scale, y: Scale, height: float) -> Markup:
    end, last = x(series.points[-1][0]), y(series.points[-1][1])
    leader = Markup('<path class="leader" d="M{:.1f} {:.1f}L{} {:.1f}"/>').format(end + 4, last, _RIGHT + 6, height)
    text = Markup('<text class="t{} {}" x="{}" y="{:.1f}">{}</text>')
    return leader + text.format(series.colour, series.kind, _RIGHT + 9, height + 4, _cut(series.name))


def spread(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """Return ascending ``heights`` moved apart, so that names do not overlap, and kept above ``bottom``."""
    placed = list(heights)
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + _LABEL_GAP)
    overflow = max(0.0, placed[-1] - bottom) if placed else 0.0
    if overflow:
        placed[-1] = bottom
        for above, below in reversed(list(pairwise(range(len(placed))))):
            placed[above] = max(top, min(placed[above], placed[below] - _LABEL_GAP))
    return placed


def _cut(name: str) -> Markup:
    return escape(name if len(name) <= 15 else name[:14] + "…")
