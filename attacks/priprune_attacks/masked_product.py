"""A product with a masked low-rank matrix that is never kept: ``x (M * D^T A)^T``, to any order of derivatives.

It is linear in ``x``, ``D`` and ``A``, and each derivative is a product of the same kind, so one function serves them
all. Without a mask it is two thin products; with one the matrix is formed a bounded number of entries at a time.
"""

from typing import Any

import torch
from torch import Tensor

from priprune_attacks.formed_square import BLOCK_ENTRIES

# Rows through the mask, one for every pair of samples, cost less than forming the matrix up to about this many.
_MOST_PAIRS = 64


def masked_product(inputs: Tensor, deltas: Tensor, past: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``inputs (M * deltas^T past)^T`` of every row.

    Args:
        inputs: ``[V, R, N, I]``.
        deltas: ``[V, R, P, O]``.
        past: ``[V, R, P, I]``.
        mask: ``[V, O, I]`` or ``[1, O, I]`` in the same dtype, or None.

    Returns:
        ``[V, R, N, O]``.
    """
    if mask is None:
        return (inputs @ past.mT) @ deltas
    result: Tensor = _MaskedProduct.apply(inputs, deltas, past, mask)
    return result


class _MaskedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, deltas: Tensor, past: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, deltas, past, mask)
        if inputs.shape[2] * past.shape[2] <= _MOST_PAIRS:
            return _by_pairs(inputs, deltas, past, mask)
        return _by_blocks(inputs, deltas, past, mask)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        inputs, deltas, past, mask = ctx.saved_tensors
        of_inputs, of_deltas, of_past = ctx.needs_input_grad[:3]
        return (
            _MaskedProduct.apply(grads[0], past, deltas, mask.mT) if of_inputs else None,
            _MaskedProduct.apply(past, grads[0], inputs, mask) if of_deltas else None,
            _MaskedProduct.apply(deltas, inputs, grads[0], mask.mT) if of_past else None,
            None,
        )


def _by_pairs(inputs: Tensor, deltas: Tensor, past: Tensor, mask: Tensor) -> Tensor:
    """``y_n = sum over p of d_p * (M (a_p * x_n))``: one product with the mask for all rows."""
    rows = inputs.unsqueeze(3) * past.unsqueeze(2)  # [V, R, N, P, I]
    flat = rows.flatten(0, 3).unsqueeze(0) if mask.shape[0] == 1 else rows.flatten(1, 3)
    through = (flat @ mask.mT).view(*rows.shape[:4], -1)  # [V, R, N, P, O]
    return (through * deltas.unsqueeze(2)).sum(3)


def _by_blocks(inputs: Tensor, deltas: Tensor, past: Tensor, mask: Tensor) -> Tensor:
    victims, restarts = inputs.shape[:2]
    x, d, a = inputs.flatten(0, 1), deltas.flatten(0, 1), past.flatten(0, 1)
    result = x.new_empty(x.shape[0], x.shape[1], d.shape[2])
    size = max(1, BLOCK_ENTRIES // mask[0].numel())
    for begin in range(0, victims * restarts, size):
        block = slice(begin, begin + size)
        formed = d[block].mT @ a[block]
        owners = torch.arange(begin, begin + formed.shape[0], device=mask.device) // restarts
        formed *= mask if mask.shape[0] == 1 else mask[owners]
        torch.bmm(x[block], formed.mT, out=result[block])
    return result.view(victims, restarts, *result.shape[1:])
