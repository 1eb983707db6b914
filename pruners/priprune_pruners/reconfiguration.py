"""PruneFL's reconfiguration: which weights lower the loss most per second.

Reference: Jiang, Wang, Valls, Ko, Lee, Leung, Tassiulas, "Model Pruning Enables Efficient Federated Learning on Edge
Devices", IEEE TNNLS 2022, arXiv:1909.12326, Algorithm 2.
"""

import torch
from torch import Tensor

from priprune_plugins import Layout
from priprune_pruners.selection import keep_top, prunefl


def survivors(weights: Tensor, mask: Tensor, layout: Layout, decrease: float) -> Tensor:
    """Return the prunable weights that stay in any case: each layer's kept ones but the ``decrease`` smallest.

    Args:
        weights: ``[D]``.
        mask: ``[D]`` bool.
        layout: Layout of the model.
        decrease: Share of a layer's kept weights that is up for removal.
    """
    parts = zip(layout.layers(weights.abs()), layout.layers(mask & layout.prunable), strict=True)
    return torch.cat([_largest(size, kept, decrease) for size, kept in parts])


def _largest(size: Tensor, kept: Tensor, decrease: float) -> Tensor:
    stays = kept.clone()
    if bool(kept.any()):
        stays[kept] = prunefl(size[kept], decrease)
    return stays


def reconfigured(
    stays: Tensor,
    importance: Tensor,
    seconds: Tensor,
    constant: float,
    layout: Layout,
    most: int | None = None,
    fill: bool = False,
) -> Tensor:
    """Return the mask that the greedy ratio rule makes, ``[D]`` bool.

    Candidates come in order of importance per second; one is added while that ratio exceeds the loss decrease per
    second of the model so far. The set so reached is all candidates above the best ratio, which is found by fixed-point
    iteration (Dinkelbach) without sorting. Importance of biases and norms counts, their time does not.

    Args:
        stays: ``[D]`` bool, prunable weights kept in any case; all other prunable ones are candidates.
        importance: ``[D]`` summed squared gradients; their scale changes nothing.
        seconds: ``[layers]`` seconds per parameter and round, positive for prunable layers.
        constant: Seconds of a round without any parameter.
        layout: Layout of the model.
        most: Most prunable weights kept; fewer are never forced below ``stays``. None = no bound.
        fill: Go on past the rule's stop until ``most`` are kept.
    """
    times = layout.spread(seconds.to(importance.device))
    gain = importance.double()
    candidates = layout.prunable & ~stays
    ratio = gain / torch.where(layout.prunable, times, 1.0)
    start = gain[stays].sum() + gain[~layout.prunable].sum(), constant + times[stays].sum()
    added = candidates & (ratio > _best_ratio(gain[candidates], times[candidates], *start))
    if most is not None:
        room = max(0, most - int(stays.sum()))
        if fill or int(added.sum()) > room:
            added = keep_top(ratio, candidates, room)
    return stays | added | ~layout.prunable


def _best_ratio(gain: Tensor, times: Tensor, total_gain: Tensor, total_time: Tensor) -> Tensor:
    ratio, best = gain / times, total_gain / total_time
    while True:
        added = ratio > best
        better = (total_gain + gain[added].sum()) / (total_time + times[added].sum())
        if not better > best:
            return best
        best = better
