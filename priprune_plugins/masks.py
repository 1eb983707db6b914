"""Masks over the flat vector: bool, True = kept."""

import torch
from torch import Tensor


def num_pruned(rate: float, count: int) -> int:
    """Return how many of ``count`` weights a rate removes: ``round(rate * count)``, halves to even."""
    return round(rate * count)


def lowest(scores: Tensor, count: int) -> Tensor:
    """Return the positions of the ``count`` lowest of ``scores [N]``, ties by position.

    A partial sort finds the threshold, so that no sorted copy of the vector is made.
    """
    if count <= 0:
        return torch.empty(0, dtype=torch.long, device=scores.device)
    threshold = torch.kthvalue(scores, count).values
    below = torch.nonzero(scores < threshold).squeeze(1)
    ties = torch.nonzero(scores == threshold).squeeze(1)[: count - below.numel()]
    return torch.cat([below, ties])


def keep_highest(scores: Tensor, candidates: Tensor, rate: float) -> Tensor:
    """Return the mask that keeps the highest scores: ``round(rate * N)`` of the ``N`` candidates go.

    Args:
        scores: ``[D]``; NaN is refused.
        candidates: ``[D]`` bool: which coordinates may be removed; all others are kept.
        rate: Fraction of the candidates removed, in [0, 1).

    Returns:
        ``[D]`` bool, True = kept; exactly ``round(rate * N)`` entries are False, ties by (layer, flat index).

    Raises:
        ValueError: A score is NaN.
    """
    if torch.isnan(scores).any():
        raise ValueError("a score is NaN: no order to select by")
    positions = torch.nonzero(candidates).squeeze(1)
    removed = lowest(scores[positions], num_pruned(rate, positions.numel()))
    mask = torch.ones_like(candidates)
    mask[positions[removed]] = False
    return mask


def density(mask: Tensor | None, prunable: Tensor) -> float:
    """Return kept / prunable, in [0, 1]; 1.0 without a mask or where nothing is prunable."""
    total = int(prunable.sum())
    if mask is None or total == 0:
        return 1.0
    return float((mask & prunable).sum()) / total


def apply_(weights: Tensor, mask: Tensor | None) -> Tensor:
    """Set the pruned coordinates of ``weights [..., D]`` to exactly +0, in place, and return it.

    A product would leave -0 where a negative weight stood, and NaN where an infinite one did.
    """
    return weights if mask is None else weights.masked_fill_(~mask, 0.0)


def applied(weights: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``weights`` with its pruned coordinates exactly +0; the same tensor where ``mask`` is None."""
    return weights if mask is None else weights.masked_fill(~mask, 0.0)
