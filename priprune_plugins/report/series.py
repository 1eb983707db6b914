"""What a chart holds: series of points, drawn as lines, markers, bars or floors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

Point = tuple[float, float]
Value = TypeVar("Value")
COLOURS = 6
_MOST_POINTS = 400


@dataclass(frozen=True)
class Series:
    """One series of a chart.

    Args:
        name: Written at a line's end, or in the chart's key.
        points: ``(x, y)``, x ascending for a line.
        kind: ``line``; ``floor`` (dashed, muted); ``dots`` (unconnected, unnamed); ``points`` (unconnected markers);
            ``bar``, from 0, beside the other bars of its place.
        colour: Which of the page's six colours; with ``points`` also which marker.
        y_ranges: Lowest and highest of each point over seeds, drawn as error bars, or as a band along many points.
        x_ranges: The same of its horizontal place.
    """

    name: str
    points: Sequence[Point]
    kind: str = "line"
    colour: int = 0
    y_ranges: Sequence[Point] = ()
    x_ranges: Sequence[Point] = ()

    @property
    def shade(self) -> int:
        """Its colour as one of the page's."""
        return self.colour % COLOURS

    def thinned(self) -> "Series":
        """Return the series with at most about 400 of its points."""
        fewer = (thinned(self.points), thinned(self.y_ranges), thinned(self.x_ranges))
        return replace(self, points=fewer[0], y_ranges=fewer[1], x_ranges=fewer[2])

    def xs(self) -> list[float]:
        """Return every horizontal value that the axis must hold."""
        return [x for x, _ in self.points] + [bound for both in self.x_ranges for bound in both]

    def ys(self) -> list[float]:
        """Return every vertical value that the axis must hold."""
        return [y for _, y in self.points] + [bound for both in self.y_ranges for bound in both]


def thinned(values: Sequence[Value]) -> list[Value]:
    """Return at most about 400 of the values, evenly spaced, the last one always among them."""
    stride = -(-len(values) // _MOST_POINTS) or 1
    return [*values[:-1:stride], values[-1]] if values else []
