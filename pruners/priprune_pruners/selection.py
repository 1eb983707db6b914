"""From scores to a mask: one rule of our own, and the rules of the official repositories for comparison.

A score says how much a weight is worth: the highest are kept. Every rule takes the scores ``[N]`` of the weights that
may go and the fraction to remove, and returns ``[N]`` bool, True = kept. The rules differ by one or two weights.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from priprune_plugins.layout import Layout
from priprune_plugins.masks import kth_lowest, num_pruned, without_lowest

Rule = Callable[[Tensor, float], Tensor]


def exact(scores: Tensor, rate: float) -> Tensor:
    """Remove exactly ``round(rate * N)``, ties by position; also what ``torch.nn.utils.prune`` counts."""
    return without_lowest(scores, torch.ones_like(scores, dtype=torch.bool), num_pruned(rate, scores.numel()))


def synaptic_flow(scores: Tensor, rate: float) -> Tensor:
    """Remove the ``int(rate * N)`` lowest and every tie with the last of them (ganguli-lab/Synaptic-Flow)."""
    count = int(rate * scores.numel())
    return scores > _order_statistic(scores, count - 1) if count else torch.ones_like(scores, dtype=torch.bool)


def mil_ad(scores: Tensor, rate: float) -> Tensor:
    """Keep the ``int((1 - rate) * N)`` highest and every tie with the last of them (mil-ad/snip)."""
    kept = int(scores.numel() * (1 - rate))
    return scores >= _order_statistic(scores, scores.numel() - kept) if kept else scores > scores.max()


def grasp(scores: Tensor, rate: float) -> Tensor:
    """Remove ``int(rate * N) - 1``: the threshold itself stays (alecwangcq/GraSP)."""
    count = int(rate * scores.numel())
    return scores >= _order_statistic(scores, count - 1) if count else torch.ones_like(scores, dtype=torch.bool)


def open_lth(scores: Tensor, rate: float, population: int | None = None) -> Tensor:
    """Remove ``ceil(rate * population) + 1`` of the survivors ``scores`` (facebookresearch/open_lth).

    Args:
        scores: ``[N]`` magnitudes of the survivors that may go.
        rate: Fraction of the survivors.
        population: All survivors, of protected layers too, of which the official code takes the fraction; None = ``N``.
    """
    count = math.ceil(rate * (scores.numel() if population is None else population))
    return scores > _order_statistic(scores, min(count, scores.numel() - 1))


def prunefl(scores: Tensor, rate: float) -> Tensor:
    """Remove ``int(rate * N)`` and keep ties with the first kept (jiangyuang/PruneFL)."""
    return scores >= _order_statistic(scores, int(rate * scores.numel()))


def lotteryfl(scores: Tensor, rate: float) -> Tensor:
    """Keep what reaches numpy's linear ``rate`` quantile (charleslipku/LotteryFL)."""
    position = rate * (scores.numel() - 1)
    below = math.floor(position)
    low = _order_statistic(scores, below).double()
    high = _order_statistic(scores, min(below + 1, scores.numel() - 1)).double()
    return scores.double() >= low + (high - low) * (position - below)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "exact": exact,
        "grasp": grasp,
        "lotteryfl": lotteryfl,
        "mil_ad": mil_ad,
        "open_lth": open_lth,
        "prunefl": prunefl,
        "synaptic_flow": synaptic_flow,
    }
)


def select(scores: Tensor, candidates: Tensor, rate: float, rule: str = "exact") -> Tensor:
    """Return the mask that a rule makes of the candidates' scores, all other coordinates kept.

    Args:
        scores: ``[D]``.
        candidates: ``[D]`` bool, which coordinates may go.
        rate: Fraction of the candidates to remove, in [0, 1].
        rule: A name in ``RULES``.

    Returns:
        ``[D]`` bool, True = kept.

    Raises:
        ValueError: A candidate's score is NaN.
    """
    if torch.isnan(scores.masked_fill(~candidates, 0.0)).any():
        raise ValueError("a score is NaN: no order to select by")
    count = int(candidates.count_nonzero())
    if rate == 0 or count == 0:
        return torch.ones_like(candidates)
    if rule == "exact":
        return without_lowest(scores, candidates, num_pruned(rate, count))
    positions = torch.nonzero(candidates).squeeze(1)
    mask = torch.ones_like(candidates)
    mask[positions] = RULES[rule](scores[positions], rate)
    return mask


def select_per_layer(scores: Tensor, candidates: Tensor, rate: float, layout: Layout, rule: str = "exact") -> Tensor:
    """Return the mask that the rule makes of each layer by itself; arguments as in :func:`select`."""
    parts = zip(layout.layers(scores), layout.layers(candidates), strict=True)
    return torch.cat([select(part, allowed, rate, rule) for part, allowed in parts])


def keep_top(scores: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Return the mask of the ``count`` highest-scored candidates and nothing else, ties by position.

    Args:
        scores: ``[N]``.
        candidates: ``[N]`` bool.
        count: How many; all candidates where there are fewer.
    """
    if count >= int(candidates.count_nonzero()):
        return candidates.clone()
    return ~without_lowest(-scores, candidates, count)


def _order_statistic(scores: Tensor, index: int) -> Tensor:
    """The score at ``index`` (from 0) of the ascending order, by a partial sort."""
    return kth_lowest(scores, index + 1)
