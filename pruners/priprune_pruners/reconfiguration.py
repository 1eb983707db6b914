"""PruneFL's reconfiguration: which weights lower the loss most per second.

Reference: Jiang, Wang, Valls, Ko, Lee, Leung, Tassiulas, "Model Pruning Enables Efficient Federated Learning on Edge
Devices", IEEE TNNLS 2022, arXiv:1909.12326, Algorithm 2.
"""

from collections.abc import Sequence

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
    candidates = layout.prunable & ~stays
    counted, times = stays | ~layout.prunable, seconds.tolist()
    ratio = _per_second(importance, times, layout)
    start = _total(importance, counted), constant + _time(stays & layout.prunable, times, layout)
    best = _best_ratio(ratio, importance, candidates, times, layout, *start)
    added = candidates.logical_and(ratio > best)
    if most is not None:
        room = max(0, most - int(stays.sum()))
        if fill or int(added.sum()) > room:
            added = keep_top(ratio, candidates, room)
    return added.logical_or_(counted)


def _best_ratio(
    ratio: Tensor,
    importance: Tensor,
    candidates: Tensor,
    times: Sequence[float],
    layout: Layout,
    total_gain: float,
    total_time: float,
) -> float:
    best = total_gain / total_time
    while True:
        added = candidates.logical_and(ratio > best)
        better = (total_gain + _total(importance, added)) / (total_time + _time(added, times, layout))
        if not better > best:
            return best
        best = better


def _per_second(importance: Tensor, times: Sequence[float], layout: Layout) -> Tensor:
    # Layer by layer: a vector of times and double copies of all three would be six models' worth of memory.
    ratio = importance.clone()
    for part, seconds, prunable in zip(layout.layers(ratio), times, layout.prunable_layers, strict=True):
        if prunable:
            part.div_(seconds)
    return ratio


def _total(importance: Tensor, chosen: Tensor) -> float:
    return float(importance[chosen].sum(dtype=torch.float64))


def _time(chosen: Tensor, times: Sequence[float], layout: Layout) -> float:
    layers = zip(layout.layers(chosen), times, strict=True)
    return sum(int(part.count_nonzero()) * seconds for part, seconds in layers)
