"""What stands for a series in a chart's SVG: lines, markers, error bars, bands and bars."""

from collections.abc import Sequence

from markupsafe import Markup

from priprune_plugins.report.scale import Scale
from priprune_plugins.report.series import Point, Series

_MOST_MARKERS = 24
_BARS_SHARE = 0.8
_EMPTY = Markup("")
_SHAPES = (
    "M-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z",
    "M-{r} -{r}h{d}v{d}h-{d}z",
    "M0 -{q}L{q} 0L0 {q}L-{q} 0z",
    "M0 -{q}L{q} {r}L-{q} {r}z",
)


def line(series: Series, x: Scale, y: Scale) -> Markup:
    """Return a line, a floor or dots, with what its points range over."""
    places = [(x(a), y(b)) for a, b in series.points]
    path = _EMPTY
    if series.kind != "dots":
        d = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in _level(places))
        path = Markup('<path class="{} c{}" d="{}"/>').format(series.kind, series.shade, d)
    many = series.kind == "line" and len(places) > _MOST_MARKERS
    if series.kind == "floor" or many:
        return (_band(series, x, y) if many else _EMPTY) + path
    return _errors(series, x, y) + path + _EMPTY.join(_circle(series, place) for place in places)


def points(series: Series, x: Scale, y: Scale) -> Markup:
    """Return unconnected markers with their error bars; the shape tells series apart where colours do not."""
    return _errors(series, x, y) + _EMPTY.join(marker(series, x(a), y(b)) for a, b in series.points)


def bars(series: Series, index: int, count: int, x: Scale, y: Scale) -> Markup:
    """Return the bars of the ``index``-th of ``count`` series, beside those of the others."""
    width = _BARS_SHARE / count
    offset = (index - (count - 1) / 2) * width
    found = [
        Markup('<rect class="bar c{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            series.shade,
            x(a + offset - width / 2),
            min(y(b), y(0.0)),
            max(1.0, x(width) - x(0.0) - 1),
            abs(y(b) - y(0.0)),
        )
        for a, b in series.points
    ]
    return _EMPTY.join(found) + _errors(series, x, y, offset)


def marker(series: Series, across: float, down: float, radius: float = 4.0) -> Markup:
    """Return one marker of a series at a pixel."""
    shape = _SHAPES[series.colour % len(_SHAPES)].format(r=radius, d=2 * radius, q=radius * 1.25)
    return Markup('<path class="point c{}" transform="translate({:.1f} {:.1f})" d="{}"/>').format(
        series.shade, across, down, shape
    )


def _circle(series: Series, place: Point) -> Markup:
    kind, radius = ("mark", 3.2) if series.kind == "line" else ("dot", 2.4)
    return Markup('<circle class="{} c{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(kind, series.shade, *place, radius)


def _errors(series: Series, x: Scale, y: Scale, offset: float = 0.0) -> Markup:
    upright = [
        f"M{x(a + offset):.1f} {y(low):.1f}V{y(high):.1f}"
        for (a, _), (low, high) in zip(series.points, series.y_ranges, strict=False)
        if high > low
    ]
    level = [
        f"M{x(low):.1f} {y(b):.1f}H{x(high):.1f}"
        for (_, b), (low, high) in zip(series.points, series.x_ranges, strict=False)
        if high > low
    ]
    d = "".join((*upright, *level))
    return Markup('<path class="error c{}" d="{}"/>').format(series.shade, d) if d else _EMPTY


def _band(series: Series, x: Scale, y: Scale) -> Markup:
    if not series.y_ranges:
        return _EMPTY
    across = [x(a) for a, _ in series.points]
    over = [(a, y(high)) for a, (_, high) in zip(across, series.y_ranges, strict=True)]
    under = [(a, y(low)) for a, (low, _) in zip(across, series.y_ranges, strict=True)]
    d = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in [*over, *reversed(under)]) + "z"
    return Markup('<path class="band c{}" d="{}"/>').format(series.shade, d)


def _level(places: Sequence[Point]) -> list[Point]:
    if len(places) > 1:
        return list(places)
    # One round only: a floor is still a level to compare with, so it is drawn as a short stroke.
    (a, b) = places[0]
    return [(a - 30, b), (a + 30, b)]
