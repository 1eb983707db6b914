"""A linear axis: round ticks, and where a value lies."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Values ``low .. high`` on the pixels ``start .. stop``.

    Args:
        low: Value at ``start``.
        high: Value at ``stop``; above ``low``.
        start: Pixel of ``low``.
        stop: Pixel of ``high``.
        step: Distance between ticks.
    """

    low: float
    high: float
    start: float
    stop: float
    step: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Return the multiples of ``step`` inside the axis."""
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return [index * self.step for index in range(first, last + 1)]


def fitted(low: float, high: float, start: float, stop: float, ticks: int, whole: bool = False) -> Scale:
    """Return a scale that holds ``low .. high``, ends widened to ticks; ``whole`` keeps ticks on whole numbers."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    step = nice_step((high - low) / ticks)
    if whole:
        return Scale(low, high, start, stop, max(1.0, step))
    return Scale(step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9), start, stop, step)


def nice_step(raw: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is at least ``raw``."""
    power = 10.0 ** math.floor(math.log10(raw))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
