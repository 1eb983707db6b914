"""``||M * D^T A||^2`` of weight gradients too large to keep: formed block by block, once more in the backward pass."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from priprune_attacks.sums import total

# Weight-gradient entries formed at a time: 16 MiB of float32 stay in a CPU's cache, and fill a GPU.
BLOCK_ENTRIES = 1 << 22


def formed_square(deltas: Tensor, inputs: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``||M * dW||^2`` as ``[V, R]``.

    Args:
        deltas: ``[V, R, N, O]``.
        inputs: ``[V, R, N, I]``.
        mask: ``[V, O, I]``, ``[1, O, I]`` or None.
    """
    victims, restarts = deltas.shape[:2]
    squares: Tensor = _FormedSquare.apply(deltas.flatten(0, 1), inputs.flatten(0, 1), mask)
    return squares.view(victims, restarts)


def _formed_blocks(deltas: Tensor, inputs: Tensor, mask: Tensor | None) -> Iterator[tuple[slice, Tensor]]:
    """Yield (rows, ``M * dW`` of those rows), a bounded number of entries at a time."""
    rows, outputs, fan_in = deltas.shape[0], deltas.shape[2], inputs.shape[2]
    size = max(1, BLOCK_ENTRIES // (outputs * fan_in))
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
        return torch.cat([total(formed.square(), (-1, -2)) for _, formed in _formed_blocks(deltas, inputs, mask)])

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
