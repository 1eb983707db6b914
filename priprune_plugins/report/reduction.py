"""From the values of several seeds to one, with what they range over."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev


@dataclass(frozen=True)
class Reduced:
    """One value for several seeds.

    Args:
        value: Their mean or median.
        low: The mean less one standard deviation, or the lowest; the value itself for one seed.
        high: The mean plus one standard deviation, or the highest.
    """

    value: float
    low: float
    high: float


def reduced(values: Sequence[float], how: str) -> Reduced:
    """Return the ``mean`` with the standard deviation over seeds (n - 1), or the ``median`` with the whole range.

    Args:
        values: One per seed, at least one.
        how: ``mean`` or ``median``.
    """
    if how == "median":
        return Reduced(median(values), min(values), max(values))
    mean = fmean(values)
    deviation = stdev(values) if len(values) > 1 else 0.0
    return Reduced(mean, mean - deviation, mean + deviation)
