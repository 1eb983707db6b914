"""Weight gradients of convolutions, small enough to be formed for every row.

Axes: V victims, R restarts, B images, O outputs, C channels, I = C times the kernel's area, L positions.
"""

import torch
from torch import Tensor

from priprune_attacks.convolution import Geometry, weight_gradient

# Multiply-adds of one call past which oneDNN's direct kernels beat unfolding and matrix products on a CPU: 1.5 to 4
# times on 8 to 64 channels; below it their call costs more than the work.
DIRECT_WORK = 1 << 20
# Inputs of one output below which (first layers, of 1 or 3 channels) unfolding is as fast or faster.
_DIRECT_FAN_IN = 100


def convolution_gradient(deltas: Tensor, inputs: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
    """Return the weight gradients of a convolution, which are small enough to form: ``[V, R, *shape]``.

    Args:
        deltas: ``[V, R, B, O, H', W']``.
        inputs: ``[V, R, B, C, H, W]``.
        shape: The weight's.
        geometry: How the convolution moves.
    """
    rows = deltas.shape[0] * deltas.shape[1]
    work = deltas.shape[:3].numel() * deltas.shape[4:].numel() * shape.numel()
    if deltas.device.type == "cpu" and work >= DIRECT_WORK and shape[1:].numel() >= _DIRECT_FAN_IN:
        grouped_shape = torch.Size((rows * shape[0], *shape[1:]))
        formed = weight_gradient(side_by_side(inputs), side_by_side(deltas), grouped_shape, geometry.times(rows))
    else:
        kernel = shape[2], shape[3]
        patches = geometry.unfold(inputs.flatten(0, 2), kernel)  # [V*R*B, I, L]
        patches = patches.view(*inputs.shape[:3], *patches.shape[1:])
        formed = _product_of_patches(deltas.flatten(4), patches)
    return formed.view(*deltas.shape[:2], *shape)


def side_by_side(images: Tensor) -> Tensor:
    """Turn ``[V, R, B, C, H, W]`` into the input ``[B, V*R*C, H, W]`` of grouped convolutions, one group a row."""
    return images.flatten(0, 1).transpose(0, 1).flatten(1, 2)


def _product_of_patches(deltas: Tensor, patches: Tensor) -> Tensor:
    """Sum over images and positions: a product per image, or one over copies side by side where those are smaller."""
    if deltas.shape[2] == 1:
        return (deltas @ patches.mT).squeeze(2)
    if deltas.shape[3] <= deltas.shape[4]:
        return (deltas @ patches.mT).sum(2)
    return deltas.transpose(2, 3).flatten(3) @ patches.transpose(2, 3).flatten(3).mT
