"""Prune each layer to a budget by magnitude and grow it to another by gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor

from priprune_plugins import Layout
from priprune_pruners.selection import keep_top


def pruned_to(scores: Tensor, mask: Tensor, budgets: Sequence[int], layout: Layout) -> Tensor:
    """Return the mask that keeps the highest-scored of each layer's kept weights, as many as its budget.

    Args:
        scores: ``[D]``.
        mask: ``[D]`` bool; what it drops stays dropped.
        budgets: One count per layer; a layer at or under its budget stays as it is.
        layout: Layout of the model.
    """
    parts = zip(layout.layers(scores), layout.layers(mask), budgets, strict=True)
    return torch.cat([keep_top(part, kept, max(count, 0)) for part, kept, count in parts])


def grown_to(scores: Tensor, mask: Tensor, budgets: Sequence[int], layout: Layout, over_all: bool = False) -> Tensor:
    """Return the mask with each layer's highest-scored dropped weights taken back until its budget is met.

    Args:
        scores: ``[D]``, the absolute gradient for instance.
        mask: ``[D]`` bool.
        budgets: One count per layer.
        layout: Layout of the model.
        over_all: Rank kept weights too, as bibikar/feddst does: those that are kept already use up the count, and the
            layer ends below its budget.
    """
    parts = zip(layout.layers(scores), layout.layers(mask), budgets, strict=True)
    return torch.cat([_grown(part, kept, count, over_all) for part, kept, count in parts])


def _grown(scores: Tensor, kept: Tensor, budget: int, over_all: bool) -> Tensor:
    missing = budget - int(kept.sum())
    if missing <= 0:
        return kept
    return kept | keep_top(scores, torch.ones_like(kept) if over_all else ~kept, missing)
