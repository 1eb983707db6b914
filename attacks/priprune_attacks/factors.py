"""Targets of low rank: a Linear layer's gradient over few images is a product of thin matrices.

Matching then reads the thin matrices instead of the target, which is what limits a batch of victims with large Linear
layers. The rest that the factors leave is bounded, so that the loss moves by less than that bound.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Norm of the rest, relative to the whole target's: a bound on the error of the cosine. Uploads in float32 leave a few
# 1e-7 at the first steps of a training; a rest above the bound means more images, steps or noise than fit.
TOLERANCE = 2e-6
# A target this small is read as fast as its factors.
_SMALL = 1 << 14
_MOST_RANK = 24
_OVERSAMPLING = 8
_SWEEPS = 24


@dataclass(frozen=True, eq=False)
class Factors:
    """Targets ``left @ right`` of V victims, ``[V, O, k]`` and ``[V, k, I]``, times the mask if there is one.

    Zeros that a mask of few dropped entries leaves in a target without other pruning are part of the product.
    """

    left: Tensor
    right: Tensor


def factors_of(targets: Tensor, mask: Tensor | None, norms: Tensor) -> Factors | None:
    """Return thin factors of targets ``[V, O, I]``, or None where some victim's target has none.

    Args:
        targets: Targets of one Linear weight, 0 where the mask is.
        mask: ``[V, O, I]`` or ``[1, O, I]``, 1 where compared, or None. Only rank one is looked for under a mask.
        norms: ``[V]`` norms of the victims' whole targets.
    """
    if targets[0].numel() < _SMALL:
        return None
    found = []
    for victim, target in enumerate(targets):
        rest = TOLERANCE * float(norms[victim])
        own = None if mask is None else mask[victim % mask.shape[0]]
        pair = _low_rank(target, rest) if own is None else _masked_rank_one(target, own, rest)
        if pair is None:
            return None
        found.append(pair)
    width = max(left.shape[1] for left, _ in found)
    lefts = torch.stack([_widened(left, width) for left, _ in found])
    return Factors(lefts, torch.stack([_widened(right.T, width).T for _, right in found]))


def _low_rank(target: Tensor, rest: float) -> tuple[Tensor, Tensor] | None:
    """Return ``[O, k]`` and ``[k, I]`` of the least rank that leaves no more than ``rest``.

    Reference: Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 2011, algorithm 4.1.
    """
    width = min(_MOST_RANK + _OVERSAMPLING, min(target.shape) // 2)
    noise = torch.Generator().manual_seed(0)
    sketch = torch.randn(target.shape[1], width, generator=noise, dtype=target.dtype).to(target.device)
    basis = torch.linalg.qr(target @ sketch).Q
    inner, values, right = torch.linalg.svd(basis.T @ target, full_matrices=False)
    # tail[k] = what rank k leaves of the sketch.
    tail = values.square().flip(0).cumsum(0).flip(0).sqrt()
    rank = max(1, int((tail > rest / 4).sum()))
    if rank > _MOST_RANK:
        return None
    left = (basis @ inner[:, :rank]) * values[:rank]
    right = right[:rank]
    return (left, right) if float((target - left @ right).norm()) <= rest else None


def _masked_rank_one(target: Tensor, mask: Tensor, rest: float) -> tuple[Tensor, Tensor] | None:
    """Return ``[O, 1]`` and ``[1, I]`` whose product is the target where compared, by alternating least squares."""
    tiny = torch.finfo(target.dtype).tiny
    right = target[target.square().sum(1).argmax()]
    for sweep in range(1, _SWEEPS + 1):
        left = (target @ right) / (mask @ right.square()).clamp_min(tiny)
        right = (target.T @ left) / (mask.T @ left.square()).clamp_min(tiny)
        if sweep % 8 == 0 and float((target - mask * torch.outer(left, right)).norm()) <= rest:
            return left.unsqueeze(1), right.unsqueeze(0)
    return None


def _widened(columns: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(columns, (0, width - columns.shape[1]))
