"""A chart as inline SVG: axes, ticks, units, and a name at the end of every line, or a key beside markers and bars.

One description, :class:`Chart`, is drawn twice: here for the page, which must need no script, no network and no drawing
library, and takes the reader's dark or light colours; and by :mod:`priprune_plugins.report.plots` with matplotlib for
the PNG and PDF files that papers want.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from priprune_plugins.report import marks
from priprune_plugins.report.numbers import short
from priprune_plugins.report.scale import Scale, fitted
from priprune_plugins.report.series import COLOURS, Point, Series, thinned

__all__ = ["COLOURS", "Chart", "Point", "Series", "draw", "spread", "thinned"]

WIDTH, HEIGHT = 460, 272
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 356, 30, 228
_LABEL_GAP = 13.5
_KEY_GAP = 18.0
_LETTER = 6.2
_MOST_LETTERS = 15


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
        x_names: Names of the places 0, 1, ... where the horizontal axis holds no numbers.
        x_number: How a tick's number of the horizontal axis is written.
    """

    title: str
    y_label: str
    series: Sequence[Series]
    from_zero: bool = True
    top: float | None = None
    number: Callable[[float], str] = short
    x_label: str = "round"
    x_names: Sequence[str] = ()
    x_number: Callable[[float], str] = short

    def drawable(self) -> bool:
        """Return whether there is any point to draw."""
        return any(series.points for series in self.series)

    def drawn(self) -> list[Series]:
        """Return the series that have points, each with at most about 400 of them."""
        return [series.thinned() for series in self.series if series.points]


def draw(chart: Chart) -> Markup:
    """Return the chart as an SVG element; every text in it is escaped."""
    series = chart.drawn()
    x, y = _scales(chart, series)
    keyed = any(s.kind in ("points", "bar") for s in series)
    named = _key(series) if keyed else _names(series, x, y)
    body = Markup("").join([_grid(chart, x, y), *_marked(series, x, y), named])
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>{}</svg>').format(
        WIDTH, HEIGHT, chart.title, chart.title, body
    )


def _scales(chart: Chart, series: Sequence[Series]) -> tuple[Scale, Scale]:
    xs, ys = [v for s in series for v in s.xs()], [v for s in series for v in s.ys()]
    low = min([*ys, 0.0] if chart.from_zero else ys)
    high = max(ys if chart.top is None else [*ys, chart.top])
    y = fitted(low, high, _BOTTOM, _TOP, ticks=5)
    if chart.x_names:
        return Scale(-0.5, len(chart.x_names) - 0.5, _LEFT, _RIGHT, 1.0), y
    return fitted(min(xs), max(xs), _LEFT + 8, _RIGHT - 8, ticks=6, whole=chart.x_label == "round"), y


def _marked(series: Sequence[Series], x: Scale, y: Scale) -> list[Markup]:
    in_bars = [s for s in series if s.kind == "bar"]
    # Lines last: a floor must be seen over the bars that it is a level for.
    return [
        *(marks.bars(s, index, len(in_bars), x, y) for index, s in enumerate(in_bars)),
        *(marks.points(s, x, y) if s.kind == "points" else marks.line(s, x, y) for s in series if s.kind != "bar"),
    ]


def _grid(chart: Chart, x: Scale, y: Scale) -> Markup:
    rows = [
        Markup('<path class="grid" d="M{} {:.1f}H{}"/><text class="tick end" x="{}" y="{:.1f}">{}</text>').format(
            _LEFT, y(tick), _RIGHT, _LEFT - 6, y(tick) + 4, chart.number(tick)
        )
        for tick in y.ticks()
    ]
    columns = [
        Markup('<path class="axis" d="M{:.1f} {}v4"/><text class="tick mid" x="{:.1f}" y="{}">{}</text>').format(
            x(place), _BOTTOM, x(place), _BOTTOM + 17, name
        )
        for place, name in _places(chart, x)
    ]
    axes = Markup('<path class="axis" d="M{} {}H{}"/>').format(_LEFT, _BOTTOM, _RIGHT)
    label = Markup('<text class="unit mid" x="{}" y="{}">{}</text>').format(
        (_LEFT + _RIGHT) / 2, _BOTTOM + 36, chart.x_label
    )
    unit = Markup('<text class="unit" x="{}" y="13">{}</text>').format(_LEFT, chart.y_label)
    return Markup("").join([*rows, *columns, axes, label, unit])


def _places(chart: Chart, x: Scale) -> list[tuple[float, Markup]]:
    if not chart.x_names:
        return [(tick, escape(chart.x_number(tick))) for tick in x.ticks()]
    room = int((_RIGHT - _LEFT) / len(chart.x_names) / _LETTER)
    return [(float(place), _cut(name, max(3, room))) for place, name in enumerate(chart.x_names)]


def _names(series: Sequence[Series], x: Scale, y: Scale) -> Markup:
    named = sorted((s for s in series if s.kind != "dots"), key=lambda s: y(s.points[-1][1]))
    heights = spread([y(s.points[-1][1]) for s in named], _TOP, _BOTTOM)
    return Markup("").join(_name(s, x, y, height) for s, height in zip(named, heights, strict=True))


def _name(series: Series, x: Scale, y: Scale, height: float) -> Markup:
    end, last = x(series.points[-1][0]), y(series.points[-1][1])
    leader = Markup('<path class="leader" d="M{:.1f} {:.1f}L{} {:.1f}"/>').format(end + 4, last, _RIGHT + 6, height)
    return leader + _label(series, _RIGHT + 9, height + 4)


def _key(series: Sequence[Series]) -> Markup:
    rows = []
    named = [s for s in series if s.kind != "dots"]
    gap = min(_KEY_GAP, (_BOTTOM - _TOP) / len(named))
    for index, s in enumerate(named):
        height = _TOP + 4 + index * gap
        stroke = Markup('<path class="{} c{}" d="M{} {:.1f}h12"/>').format(s.kind, s.shade, _RIGHT + 6, height)
        sign = stroke if s.kind in ("line", "floor") else marks.marker(s, _RIGHT + 12, height)
        rows.append(sign + _label(s, _RIGHT + 22, height + 4))
    return Markup("").join(rows)


def _label(series: Series, across: float, down: float) -> Markup:
    kind = "floor" if series.kind == "floor" else "line"
    letters = min(_MOST_LETTERS, int((WIDTH - across) / _LETTER))
    return Markup('<text class="t{} {}" x="{}" y="{:.1f}">{}</text>').format(
        series.shade, kind, across, down, _cut(series.name, letters)
    )


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


def _cut(name: str, letters: int) -> Markup:
    if len(name) <= letters:
        return escape(name)
    # A browser shows the whole name where a pointer rests on it.
    return Markup("{}<title>{}</title>").format(f"{name[: letters - 1]}…", name)
