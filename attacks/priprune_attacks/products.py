"""Inner products of weight gradients with a target, without the gradients where a closed form is cheaper.

With a layer's deltas ``D`` (loss gradients at its output) and inputs ``A``, its weight gradient is ``dW = D^T A``.
Gradient matching needs ``<dW, G>`` and ``||M * dW||^2`` only, for a target ``G`` that is zero wherever the mask ``M``
is. All functions are differentiable in ``D`` and ``A``. Axes: V victims, R restarts, N samples (images times
positions) of one restart, O outputs, I inputs.
"""

from typing import Any

import torch
from torch import Tensor

from priprune_attacks.factors import Factors
from priprune_attacks.formed_square import formed_square
from priprune_attacks.layer_masks import Dropped, LayerMask, masked
from priprune_attacks.sums import total

Pair = tuple[Tensor, Tensor]

# Pairs of samples go through one product with the mask each; past this many, forming dW costs less memory traffic.
_MOST_PAIRS = 78


def linear_products(deltas: Tensor, inputs: Tensor, target: Tensor | Factors, mask: LayerMask) -> Pair:
    """Return ``<dW, G>`` and ``||M * dW||^2`` of a linear layer.

    Args:
        deltas: ``[V, R, N, O]``.
        inputs: ``[V, R, N, I]``.
        target: ``[V, O, I]``, zero where the mask is, or its factors.
        mask: What is compared.

    Returns:
        Two tensors ``[V, R]``.
    """
    if isinstance(target, Factors):
        return _factor_products(deltas, inputs, target, mask)
    along = inputs.flatten(1, 2) @ target.mT  # [V, R*N, O]
    dot = total(deltas * along.view_as(deltas), (-1, -2))
    return dot, linear_square(deltas, inputs, mask)


def _factor_products(deltas: Tensor, inputs: Tensor, target: Factors, mask: LayerMask) -> Pair:
    """Return both with a factored target, which is zero under ``M`` only where it is multiplied by it here."""
    if isinstance(mask, Tensor):
        return _masked_factor_products(deltas, inputs, target, mask)
    if isinstance(mask, Dropped) and mask.kept is not None:
        dot, square = _masked_factor_products(deltas, inputs, target, mask.kept)
        entries = _entries(deltas, inputs, mask)
        of_target = (target.left[mask.victims, mask.outputs] * target.right[mask.victims, :, mask.inputs]).sum(-1)
        dropped = _by_victim(entries * of_target.unsqueeze(-1), mask, dot)
        return dot - dropped, square - _by_victim(entries.square(), mask, square)
    along = (deltas.flatten(1, 2) @ target.left) * (inputs.flatten(1, 2) @ target.right.mT)  # [V, R*N, k]
    return total(along.view(*deltas.shape[:3], -1), (-1, -2)), linear_square(deltas, inputs, mask)


def _masked_factor_products(deltas: Tensor, inputs: Tensor, target: Factors, mask: Tensor) -> Pair:
    """Return both with the target ``M * u v^T``: ``<dW, G> = sum over b of (d_b * u)^T M (a_b * v)``."""
    left = deltas * target.left.mT.unsqueeze(1)  # [V, R, N, O]
    right = inputs * target.right.unsqueeze(1)  # [V, R, N, I]
    if _pairs(deltas.shape[2]) > _MOST_PAIRS:
        return _through_mask(left, right, mask).sum(-1), formed_square(deltas, inputs, mask)
    # One product with the mask for both: a Linear layer's mask is as large as its weight.
    pair_left, pair_right = _pair_rows(deltas, inputs)
    through = _through_mask(torch.cat([left, pair_left], 2), torch.cat([right, pair_right], 2), mask)
    return through[..., : left.shape[2]].sum(-1), through[..., left.shape[2] :].sum(-1)


def linear_square(deltas: Tensor, inputs: Tensor, mask: LayerMask) -> Tensor:
    """Return ``||M * dW||^2`` as ``[V, R]``, by the cheapest of the routes that give the same."""
    samples, outputs, fan_in = deltas.shape[2], deltas.shape[3], inputs.shape[3]
    if isinstance(mask, Dropped):
        square = linear_square(deltas, inputs, mask.kept)
        return square - _by_victim(_entries(deltas, inputs, mask).square(), mask, square)
    if mask is None:
        gram_is_cheaper = samples * (outputs + fan_in) <= 2 * outputs * fan_in
        return _gram_square(deltas, inputs) if gram_is_cheaper else formed_square(deltas, inputs, mask)
    if _pairs(samples) > _MOST_PAIRS:
        return formed_square(deltas, inputs, mask)
    return _through_mask(*_pair_rows(deltas, inputs), mask).sum(-1)


def formed_products(grads: Tensor, target: Tensor, mask: LayerMask) -> Pair:
    """Return ``<g, G>`` and ``||M * g||^2`` of gradients ``[V, R, *shape]`` that are there."""
    grads = masked(grads, mask).flatten(2)
    dot, square = _FormedProducts.apply(grads, target.flatten(1).unsqueeze(1).expand_as(grads))
    return dot, square


class _FormedProducts(torch.autograd.Function):
    """``<g, G>`` and ``||g||^2`` of the last axis in as few passes as they take; differentiable once, in ``g``."""

    @staticmethod
    def forward(ctx: Any, grads: Tensor, target: Tensor) -> Pair:
        ctx.save_for_backward(grads, target)
        return total(grads * target, (-1,)), total(grads.square(), (-1,))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        grads, target = ctx.saved_tensors
        of_dot, of_square = (one.to(grads.dtype).unsqueeze(-1) for one in outer)
        return (grads * (2.0 * of_square)).addcmul_(target, of_dot), None


def _entries(deltas: Tensor, inputs: Tensor, mask: Dropped) -> Tensor:
    """Return the weight gradient's dropped entries of every restart, ``[entries, R]``."""
    left = deltas[mask.victims, :, :, mask.outputs]  # [entries, R, N]
    return total(left * inputs[mask.victims, :, :, mask.inputs], (-1,))


def _by_victim(entries: Tensor, mask: Dropped, like: Tensor) -> Tensor:
    """Sum what belongs to dropped entries, ``[entries, R]`` to ``[V, R]``."""
    return torch.zeros_like(like).index_add(0, mask.victims, entries)


def _gram_square(deltas: Tensor, inputs: Tensor) -> Tensor:
    """``||D^T A||^2 = sum((D D^T) * (A A^T))``."""
    if deltas.shape[2] == 1:
        return total(deltas.square(), (-1, -2)) * total(inputs.square(), (-1, -2))
    return total((deltas @ deltas.mT) * (inputs @ inputs.mT), (-1, -2))


def _pairs(samples: int) -> int:
    return samples * (samples + 1) // 2


def _pair_rows(deltas: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows whose products through the mask add up to a square, each unordered pair of samples once.

    ``||M * D^T A||^2 = sum over b, c of (d_b * d_c)^T M (a_b * a_c)``; rows ``[V, R, P, O]`` and ``[V, R, P, I]``.
    """
    samples = deltas.shape[2]
    if samples == 1:
        return deltas.square(), inputs.square()
    first, second = torch.triu_indices(samples, samples, device=deltas.device)
    doubled: Tensor = (2.0 - (first == second).to(deltas.dtype)).unsqueeze(-1)
    return deltas[:, :, first] * deltas[:, :, second], inputs[:, :, first] * inputs[:, :, second] * doubled


def _through_mask(left: Tensor, right: Tensor, mask: Tensor) -> Tensor:
    """Return ``left^T M right`` of each row: ``[V, R, P, O]`` and ``[V, R, P, I]`` to ``[V, R, P]``."""
    rows = left.flatten(0, 2).unsqueeze(0) if mask.shape[0] == 1 else left.flatten(1, 2)
    return total((rows @ mask).view_as(right) * right, (-1,))
