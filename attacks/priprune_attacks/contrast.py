"""Contrast: gain and offset of each image found, fitted to the size of the gradient that the upload gives away.

A cosine compares directions, and on networks with rectifiers the direction of a gradient hardly depends on the
contrast of the image, so that matching finds shapes in the wrong grey. The gradient's size does depend on it. Two
numbers an image are fitted to it at the end; matching the size from the start on, or searching all pixels for it
afterwards, gave worse images.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from priprune_attacks.objectives import Products, cosine, l2
from priprune_attacks.optimise import Descent, descend

# A gain says nothing where the direction is wrong: the closest gradient is then the smallest.
MOST_COSINE_DISTANCE = 0.25
_GAINS = torch.linspace(math.log(0.5), math.log(3.0), 13).exp().tolist()
_DESCENT = Descent(iterations=60, lr=0.05, bounded=False)


def fit_contrast(products: Callable[[Tensor], Products], images: Tensor) -> Tensor:
    """Return images ``clamp(gain * image + offset, 0, 1)``, unchanged where that does not come closer to the target.

    Closer is by the squared distance of the gradients relative to the target's. Gains from 0.5 to 3 are tried first,
    one for all images of a row, then gain and offset of each image descend from the best.

    Args:
        products: Compares gradients of images ``[V, R, B, C, H, W]`` in [0, 1] with the targets.
        images: ``[V, R, B, C, H, W]`` as found by a match of directions.
    """
    before = products(images.detach().requires_grad_())
    gain = _best_gain(products, images)
    start = torch.stack([gain, torch.zeros_like(gain)], -1).unsqueeze(2).repeat(1, 1, images.shape[2], 1)

    def loss(values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        distance = relative_distance(products(_adjusted(images, values)))
        return distance, distance

    found = descend(loss, start, start[..., :0], _DESCENT, lambda iteration, losses: None)
    better = (found.total < relative_distance(before)) & (cosine(before) < MOST_COSINE_DISTANCE)
    return torch.where(better.view(*better.shape, 1, 1, 1, 1), _adjusted(images, found.images), images).detach()


def relative_distance(products: Products) -> Tensor:
    """Return ``||g - t||^2 / ||t||^2`` over all layers, ``[V, R]``."""
    target = products.target_square.sum(-1)
    return l2(products) / target.clamp_min(torch.finfo(target.dtype).tiny)


def _best_gain(products: Callable[[Tensor], Products], images: Tensor) -> Tensor:
    """Return the logarithm ``[V, R]`` of the gain that comes closest."""
    tries = [(gain * images).clamp(0.0, 1.0).requires_grad_() for gain in _GAINS]
    distances = [relative_distance(products(images)).detach() for images in tries]
    return images.new_tensor(_GAINS).log()[torch.stack(distances).argmin(0)]


def _adjusted(images: Tensor, values: Tensor) -> Tensor:
    """Apply ``[V, R, B, 2]`` of log gain and offset."""
    gain, offset = values.view(*values.shape, 1, 1, 1).unbind(3)
    return (gain.exp() * images + offset).clamp(0.0, 1.0)
