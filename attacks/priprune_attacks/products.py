"""Inner products of weight gradients with a target, without the gradients where a closed form is cheaper.

With a layer's deltas ``D`` (loss gradients at its output) and inputs ``A``, its weight gradient is ``dW = D^T A``.
Gradient matching needs ``<dW, G>`` and ``||M * dW||^2`` only, for a target ``G`` that is zero wherever the mask ``M``
is. All functions are differentiable in ``D`` and ``A``. Axes: V victims, R restarts, N samples (images times
positions) of one restart, O outputs, I inputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Dropped:
    """The few entries of a Linear weight that are not compared: three index tensors of equal length."""

    victims: Tensor
    outputs: Tensor
    inputs: Tensor


# None: everything is compared. A tensor: 0 and 1 in the deltas' dtype, [V, *shape], or [1, *shape] for all victims.
LayerMask = Tensor | Dropped | None

# Pairs of samples go through one product with the mask each; past this many, forming dW costs less memory traffic.
_MOST_PAIRS = 78
# Weight-gradient entries formed at a time: 16 MiB of float32 stay in a CPU's cache, and fill a GPU.
_BLOCK_ENTRIES = 1 << 22


def masked(grads: Tensor, mask: LayerMask) -> Tensor:
    """Return formed gradients ``[V, R, *shape]`` with 0 where they are not compared."""
    if mask is None:
        return grads
    if isinstance(mask, Dropped):
        kept = torch.ones_like(grads[:, 0])
        kept[mask.victims, mask.outputs, mask.inputs] = 0.0
        return grads * kept.unsqueeze(1)
    return grads * mask.unsqueeze(1)


def linear_products(deltas: Tensor, inputs: Tensor, target: Tensor, mask: LayerMask) -> Pair:
    """Return ``<dW, G>`` and ``||M * dW||^2`` of a linear layer.

    Args:
        deltas: ``[V, R, N, O]``.
        inputs: ``[V, R, N, I]``.
        target: ``[V, O, I]``, zero where the mask is.
        mask: What is compared.

    Returns:
        Two tensors ``[V, R]``.
    """
    along = inputs.flatten(1, 2) @ target.mT  # [V, R*N, O]
    dot = (deltas * along.view_as(deltas)).sum((-1, -2))
    return dot, linear_square(deltas, inputs, mask)


def linear_square(deltas: Tensor, inputs: Tensor, mask: LayerMask) -> Tensor:
    """Return ``||M * dW||^2`` as ``[V, R]``, by the cheapest of the routes that give the same."""
    samples, outputs, fan_in = deltas.shape[2], deltas.shape[3], inputs.shape[3]
    if isinstance(mask, Dropped):
        return linear_square(deltas, inputs, None) - _dropped_square(deltas, inputs, mask)
    if mask is None:
        gram_is_cheaper = samples * (outputs + fan_in) <= 2 * outputs * fan_in
        return _gram_square(deltas, inputs) if gram_is_cheaper else _formed_square(deltas, inputs, mask)
    pairs = samples * (samples + 1) // 2
    return _pair_square(deltas, inputs, mask) if pairs <= _MOST_PAIRS else _formed_square(deltas, inputs, mask)


def convolution_products(deltas: Tensor, patches: Tensor, target: Tensor, mask: LayerMask) -> Pair:
    """Return ``<dW, G>`` and ``||M * dW||^2`` of a convolution, whose weight gradient is small enough to form.

    Args:
        deltas: ``[V, R, B, O, L]``, L = output positions.
        patches: ``[V, R, B, I, L]`` unfolded inputs, I = input channels times kernel area.
        target: ``[V, O, *kernel]``, a weight's shape per victim.
        mask: What is compared.
    """
    formed = _convolution_gradient(deltas, patches)  # [V, R, O, I]
    return formed_products(formed.view(*formed.shape[:3], *target.shape[2:]), target, mask)


def _convolution_gradient(deltas: Tensor, patches: Tensor) -> Tensor:
    """Sum over images and positions: a product per image, or one over copies side by side where those are smaller."""
    if deltas.shape[2] == 1:
        return (deltas @ patches.mT).squeeze(2)
    if deltas.shape[3] <= deltas.shape[4]:
        return (deltas @ patches.mT).sum(2)
    return deltas.transpose(2, 3).flatten(3) @ patches.transpose(2, 3).flatten(3).mT


def formed_products(grads: Tensor, target: Tensor, mask: LayerMask) -> Pair:
    """Return ``<g, G>`` and ``||M * g||^2`` of gradients ``[V, R, *shape]`` that are there."""
    grads = masked(grads, mask)
    return (grads * target.unsqueeze(1)).flatten(2).sum(-1), grads.flatten(2).square().sum(-1)


def _dropped_square(deltas: Tensor, inputs: Tensor, mask: Dropped) -> Tensor:
    """Return the squared norm of the entries that are not compared, ``[V, R]``."""
    left = deltas[mask.victims, :, :, mask.outputs]  # [entries, R, N]
    right = inputs[mask.victims, :, :, mask.inputs]
    entries = (left * right).sum(-1).square()
    return entries.new_zeros(deltas.shape[:2]).index_add(0, mask.victims, entries)


def _gram_square(deltas: Tensor, inputs: Tensor) -> Tensor:
    """``||D^T A||^2 = sum((D D^T) * (A A^T))``."""
    if deltas.shape[2] == 1:
        return deltas.square().sum((-1, -2)) * inputs.square().sum((-1, -2))
    return ((deltas @ deltas.mT) * (inputs @ inputs.mT)).sum((-1, -2))


def _pair_square(deltas: Tensor, inputs: Tensor, mask: Tensor) -> Tensor:
    """``||M * D^T A||^2 = sum over b, c of (d_b * d_c)^T M (a_b * a_c)``, each unordered pair once."""
    samples = deltas.shape[2]
    first, second = torch.triu_indices(samples, samples, device=deltas.device)
    doubled: Tensor = (2.0 - (first == second).to(deltas.dtype)).unsqueeze(-1)
    left = deltas[:, :, first] * deltas[:, :, second]  # [V, R, P, O]
    right = inputs[:, :, first] * inputs[:, :, second] * doubled  # [V, R, P, I]
    rows = left.flatten(0, 2).unsqueeze(0) if mask.shape[0] == 1 else left.flatten(1, 2)
    return ((rows @ mask).view_as(right) * right).sum((-1, -2))


def _formed_square(deltas: Tensor, inputs: Tensor, mask: Tensor | None) -> Tensor:
    victims, restarts = deltas.shape[:2]
    squares: Tensor = _FormedSquare.apply(deltas.flatten(0, 1), inputs.flatten(0, 1), mask)
    return squares.view(victims, restarts)


def _formed_blocks(deltas: Tensor, inputs: Tensor, mask: Tensor | None) -> Iterator[tuple[slice, Tensor]]:
    """Yield (rows, ``M * dW`` of those rows), a bounded number of entries at a time."""
    rows, outputs, fan_in = deltas.shape[0], deltas.shape[2], inputs.shape[2]
    size = max(1, _BLOCK_ENTRIES // (outputs * fan_in))
    for begin in range(0, rows, size):
        block = slice(begin, min(begin + size, rows))
        formed = deltas[block].mT @ inputs[block]
        if mask is not None:
            formed *= _rows_of_mask(mask, block, rows)
        yield block, formed


def _rows_of_mask(mask: Tensor, block: slice, rows: int) -> Tensor:
    """Return the masks of some of ``rows`` rows; a victim's restarts are neighbours and share its mask."""
    if mask.shape[0] == 1:
        return mask
    restarts = rows // mask.shape[0]
    return mask[torch.arange(block.start, block.stop, device=mask.device) // restarts]


class _FormedSquare(torch.autograd.Function):
    """``||M * D^T A||^2`` per row ``[K]`` of ``[K, N, O]`` and ``[K, N, I]``.

    Forms the weight gradients block by block and once more in the backward pass, so that no more than a block of them
    exists at a time. Differentiable once, which is all that a loss of these products needs.
    """

    @staticmethod
    def forward(ctx: Any, deltas: Tensor, inputs: Tensor, mask: Tensor | None) -> Tensor:
        ctx.save_for_backward(deltas, inputs, mask)
        return torch.cat([formed.square().sum((-1, -2)) for _, formed in _formed_blocks(deltas, inputs, mask)])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        deltas, inputs, mask = ctx.saved_tensors
        scale = 2.0 * grads[0]
        of_deltas, of_inputs = torch.empty_like(deltas), torch.empty_like(inputs)
        for block, formed in _formed_blocks(deltas, inputs, mask):
            formed *= scale[block].view(-1, 1, 1)
            torch.bmm(inputs[block], formed.mT, out=of_deltas[block])
            torch.bmm(deltas[block], formed, out=of_inputs[block])
        return of_deltas, of_inputs, None
