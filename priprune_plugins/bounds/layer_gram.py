"""Inner products of all pairs of per-image gradients of one layer, its gradients formed a block at a time or never.

Axes: n images, O outputs, I inputs of one output (channels times kernel area in a convolution), L positions.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK_ENTRIES = 1 << 24  # 128 MiB of float64


def layer_gram(module: nn.Linear | nn.Conv2d, inputs: Tensor, deltas: Tensor) -> Tensor:
    """Return ``<g_i, g_j>`` over weight and bias of one layer.

    An image's weight gradient is ``D_i^T A_i``. Where a layer sees one position per image that gives
    ``(D D^T) * (A A^T)`` without a gradient; elsewhere the gradients of a block of outputs are formed and dropped.

    Args:
        module: A Linear layer, or a Conv2d with one group and zero padding in pixels.
        inputs: ``[n, ...]`` what the layer took.
        deltas: ``[n, ...]`` gradient of each image's own loss at what the layer gave.

    Returns:
        ``[n, n]``, in the dtype of ``deltas``.
    """
    if isinstance(module, nn.Linear) and inputs.dim() == 2:
        outer = deltas @ deltas.mT
        return outer * (inputs @ inputs.mT) + (outer if module.bias is not None else 0)
    by_position = deltas.flatten(2) if isinstance(module, nn.Conv2d) else deltas.flatten(1, -2).mT  # [n, O, L]
    gram = _formed_gram(module, inputs, by_position)
    return gram if module.bias is None else gram + rows_gram(by_position.sum(-1))


def rows_gram(rows: Tensor) -> Tensor:
    """Return the inner products of all pairs of rows of ``[n, size]``, shape ``[n, n]``."""
    return rows @ rows.mT


def _formed_gram(module: nn.Linear | nn.Conv2d, inputs: Tensor, deltas: Tensor) -> Tensor:
    num_images, outputs, positions = deltas.shape
    fan_in = module.weight[0].numel()
    gram = deltas.new_zeros(num_images, num_images)
    for some in _ranges(outputs, num_images * fan_in):
        formed = [
            deltas[images, some] @ _patches(module, inputs[images]).mT
            for images in _ranges(num_images, fan_in * positions)
        ]
        gram += rows_gram(torch.cat(formed).flatten(1))
    return gram


def _ranges(count: int, entries_each: int) -> Iterator[slice]:
    """Yield slices of ``count`` things of so many entries each, none of more than a block."""
    size = max(1, BLOCK_ENTRIES // entries_each)
    return (slice(begin, min(begin + size, count)) for begin in range(0, count, size))


def _patches(module: nn.Linear | nn.Conv2d, inputs: Tensor) -> Tensor:
    """Return what each output position is computed from, ``[n, I, L]``."""
    if isinstance(module, nn.Linear):
        return inputs.flatten(1, -2).mT
    padding = (int(module.padding[0]), int(module.padding[1]))
    return functional.unfold(inputs, module.kernel_size, module.dilation, padding, module.stride)
