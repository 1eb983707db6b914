"""How far the privacy measures agree: rank correlations over uploads and over methods, and the order of the methods.

Answers the first open question of the PriPrune paper (arXiv:2310.19958), how min-entropy and KL divergence compare with
NMI, which of them PSNR and identification follow, and which of them the printed bound is nearest to. Every figure is
turned so that more means that more leaked: KL divergence and the rank of the true image count with a minus.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean, median
from typing import Any

from scipy.stats import kendalltau, rankdata, spearmanr

from priprune_plugins.errors import ScenarioError
from priprune_plugins.privacy.summary import Line, is_control, summarise

MEASURES = ("nmi", "kl", "min_entropy")
TARGETS = ("psnr_db", "rank")
BOUND = "bound"
_TURNED = {"kl", "rank"}
_FEWEST = 3


@dataclass(frozen=True)
class Attacked:
    """One reconstructed upload.

    Args:
        method: Run and attack.
        figures: Figures as they are in privacy.jsonl, and ``bound``; None where there is none.
    """

    method: str
    figures: Mapping[str, float | None]

    def leaks(self, figure: str) -> float | None:
        """Return a figure turned so that more means that more leaked."""
        value = self.figures.get(figure)
        return None if value is None or not math.isfinite(value) else -value if figure in _TURNED else value


@dataclass(frozen=True)
class Correlation:
    """Rank correlation of two figures, each in [-1, 1]; None with fewer than three pairs, or where one never varies.

    Args:
        first: A figure.
        second: Another.
        spearman: Spearman's rho.
        kendall: Kendall's tau-b, which allows for ties.
        pairs: On how many pairs.
    """

    first: str
    second: str
    spearman: float | None
    kendall: float | None
    pairs: int


@dataclass(frozen=True)
class Agreement:
    """What the measures say of each other.

    Args:
        by_upload: Correlations over all uploads; those of one method are not independent.
        by_method: Correlations over the methods' means (the median for ``rank``).
        order: Per method and figure, its place, 1 = leaks most; ties share their mean place.
        nearest_to_bound: The figure whose order of the methods is nearest to the bound's by Kendall's tau, ties all
            named; empty where the bound is not known or never varies.
    """

    by_upload: tuple[Correlation, ...]
    by_method: tuple[Correlation, ...]
    order: Mapping[str, Mapping[str, float]]
    nearest_to_bound: tuple[str, ...]


def attacked_uploads(
    run: str,
    lines: Sequence[Line],
    bounds: Mapping[int, float],
    attacks: Sequence[str] | None = None,
    identify: str | None = None,
    with_void: bool = False,
) -> list[Attacked]:
    """Return the reconstructed uploads of one run, each with the rank that an identifying attack gave it.

    Args:
        run: Name of the run.
        lines: Lines of its privacy.jsonl.
        bounds: Printed bound in bits by captured round; empty without bound.json.
        attacks: Which reconstructing attacks; None = all.
        identify: Which attack's ranks; None = the only one that ranks.
        with_void: Count figures of a round whose positive control failed, which say nothing.

    Raises:
        ScenarioError: Several attacks rank candidates and none was chosen.
    """
    verdicts = summarise(lines)

    def stands(line: Line) -> bool:
        verdict = verdicts[line["attack"]]["by_round"][str(line["round"])]
        return with_void or verdict["control_passed"] is True

    standing = [line for line in lines if not is_control(line) and stands(line)]
    ranks = _ranks(lines, standing, identify)
    return [
        _attacked(run, line, ranks, bounds)
        for line in standing
        if line.get("psnr_db") is not None and (attacks is None or line["attack"] in attacks)
    ]


def agreement(uploads: Sequence[Attacked]) -> Agreement:
    """Return how the measures, the targets and the bound rank the uploads and the methods.

    Args:
        uploads: Reconstructed uploads of several runs or attacks.
    """
    of_methods = method_means(uploads)
    pairs = [*product(MEASURES, TARGETS), *product([BOUND], (*MEASURES, *TARGETS))]
    by_upload = tuple(correlation(uploads, *pair) for pair in pairs)
    by_method = tuple(correlation(of_methods, *pair) for pair in pairs)
    return Agreement(by_upload, by_method, _order(of_methods), _nearest(by_method))


def method_means(uploads: Iterable[Attacked]) -> list[Attacked]:
    """Return one entry per method with its mean figures, the median for ``rank``."""
    methods: dict[str, list[Attacked]] = {}
    for upload in uploads:
        methods.setdefault(upload.method, []).append(upload)
    return [
        Attacked(method, {figure: _middle(figure, own) for figure in (*MEASURES, *TARGETS, BOUND)})
        for method, own in methods.items()
    ]


def correlation(entries: Sequence[Attacked], first: str, second: str) -> Correlation:
    """Return the rank correlation of two figures over the entries that have both."""
    both = [(entry.leaks(first), entry.leaks(second)) for entry in entries]
    pairs = [(x, y) for x, y in both if x is not None and y is not None]
    if len(pairs) < _FEWEST or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return Correlation(first, second, None, None, len(pairs))
    xs, ys = zip(*pairs, strict=True)
    return Correlation(
        first, second, float(spearmanr(xs, ys).statistic), float(kendalltau(xs, ys).statistic), len(pairs)
    )


def _ranks(lines: Sequence[Line], standing: Sequence[Line], identify: str | None) -> dict[tuple[Any, Any], float]:
    names = sorted({line["attack"] for line in lines if line.get("rank") is not None})
    if identify is None and len(names) > 1:
        raise ScenarioError(f"several attacks rank candidates: {', '.join(names)}; choose one with --identify")
    chosen = identify or (names[0] if names else None)
    ranked = [line for line in standing if line["attack"] == chosen and line.get("rank") is not None]
    return {(line["group"], line["key"]): line["rank"] for line in ranked}


def _attacked(run: str, line: Line, ranks: Mapping[tuple[Any, Any], float], bounds: Mapping[int, float]) -> Attacked:
    figures = {figure: line.get(figure) for figure in (*MEASURES, "psnr_db")}
    rank = ranks.get((line["group"], line["key"]))
    return Attacked(f"{run}/{line['attack']}", {**figures, "rank": rank, BOUND: bounds.get(line["round"])})


def _middle(figure: str, entries: Sequence[Attacked]) -> float | None:
    values = [value for entry in entries if (value := entry.figures.get(figure)) is not None and math.isfinite(value)]
    return None if not values else float(median(values)) if figure == "rank" else fmean(values)


def _order(methods: Sequence[Attacked]) -> dict[str, dict[str, float]]:
    order: dict[str, dict[str, float]] = {method.method: {} for method in methods}
    for figure in (*MEASURES, *TARGETS, BOUND):
        there = [(method.method, value) for method in methods if (value := method.leaks(figure)) is not None]
        places = rankdata([-value for _, value in there]) if there else []
        for (name, _), place in zip(there, places, strict=True):
            order[name][figure] = float(place)
    return order


def _nearest(by_method: Sequence[Correlation]) -> tuple[str, ...]:
    with_bound = {c.second: c.kendall for c in by_method if c.first == BOUND and c.kendall is not None}
    best = max(with_bound.values(), default=None)
    return tuple(name for name, tau in with_bound.items() if tau == best)
