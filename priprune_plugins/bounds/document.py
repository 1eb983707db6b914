"""``bound.json``: every figure with its terms, and the sentences that must stand beside it. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from priprune_plugins.bounds.theorem import (
    Bound,
    GradientLaw,
    PruneFLCounts,
    batch_choice,
    corollary_1,
    corrected,
    equation_23,
    mended,
    p_term,
    theorem_1,
)

FILE = "bound.json"
RANKS_NOTHING = "these figures rank nothing: no pruner, no defence, no run is more private because its figure is lower"


@dataclass(frozen=True)
class Point:
    """One point at which the bounds are evaluated.

    Args:
        rate: Base pruning rate.
        batch_size: Images whose mean gradient one upload holds.
        law: Law of one image's gradient.
        rounds: Rounds ``T`` of Corollary 1, or None.
        counts: Counts of Equation 23, or None.
        round_idx: The captured round, or None where the figures were given.
        samples: Images that ``law`` was measured on, or None where it was given.
        mean_share: Share of the gradients' mean square that their mean has, or None.
    """

    rate: float
    batch_size: int
    law: GradientLaw
    rounds: int | None = None
    counts: PruneFLCounts | None = None
    round_idx: int | None = None
    samples: int | None = None
    mean_share: float | None = None


def document(points: Sequence[Point], about: dict[str, Any], notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the content of ``bound.json``.

    Args:
        points: Where the bounds are evaluated, at least one.
        about: What the figures were computed from.
        notes: More sentences that belong beside the figures.
    """
    return {
        "unit": "bits",
        "log_base": 2,
        "about": about,
        "points": [_row(point) for point in points],
        "warnings": [RANKS_NOTHING, *_warnings(points), *notes],
    }


def _row(point: Point) -> dict[str, Any]:
    arguments = (point.rate, point.batch_size, point.law)
    printed = theorem_1(*arguments)
    return {
        "round": point.round_idx,
        "rate": point.rate,
        "batch_size": point.batch_size,
        "d_star": point.law.d_star,
        "delta": point.law.delta,
        "samples": point.samples,
        "mean_share": point.mean_share,
        "printed": _terms(printed),
        "corrected": _terms(corrected(*arguments)),
        "mended": mended(*arguments),
        "corollary_1": None if point.rounds is None else _corollary(printed, point.rounds),
        "equation_23": None if point.counts is None else _equation_23(point.counts, point),
        "batch_choice": None if point.samples is None else batch_choice(point.samples, point.batch_size),
    }


def _terms(bound: Bound) -> dict[str, Any]:
    return {"total": bound.total, "terms": dict(bound.terms)}


def _corollary(printed: Bound, rounds: int) -> dict[str, float]:
    return {"rounds": rounds, "total": corollary_1(printed, rounds)}


def _equation_23(counts: PruneFLCounts, point: Point) -> dict[str, Any]:
    first, second = equation_23(counts, point.batch_size, point.law)
    return {**asdict(counts), "line_1": first.total, "line_2": second.total, "line_2_follows": counts.remaining == 0}


def _warnings(points: Sequence[Point]) -> list[str]:
    last = points[-1]
    span = p_term(0.1) - p_term(0.9)
    total = theorem_1(last.rate, last.batch_size, last.law).total
    found = [
        f"the rate moves the printed bound by {span:.2f} bit from p = .1 to p = .9, out of {total:.1f}",
        "the printed bound depends on the loss's unit: a loss 10 times as large changes it by "
        f"{-2 * math.log2(10) * last.law.d_star:.1f} bits, and what leaks not at all",
    ]
    if any(point.samples is not None and point.law.d_star >= point.samples - 1 for point in points):
        found.append("d* is as large as the number of images allows (n - 1): the figures grow with n")
    if any(theorem_1(point.rate, point.batch_size, point.law).total < 0 for point in points):
        found.append("printed is negative, which no mutual information is: it cannot be an upper bound of one")
    if any(corrected(point.rate, point.batch_size, point.law).total < 0 for point in points):
        found.append("corrected is negative: the steps that are left bound no leakage")
    if any(point.mean_share is not None and point.mean_share > 0 for point in points):
        most = max(point.mean_share or 0.0 for point in points)
        found.append(f"Assumption 1 (mean 0) fails: the mean has up to {most:.1%} of the mean square; it was taken off")
    return found
