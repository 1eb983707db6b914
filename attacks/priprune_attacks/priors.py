"""What a picture looks like before any gradient is known: priors map images ``[..., B, C, H, W]`` to ``[...]``.

A prior sums over the images, so that its pull on one image does not depend on how many others there are.
"""

from collections.abc import Callable

from torch import Tensor

Prior = Callable[[Tensor], Tensor]


def total_variation(images: Tensor) -> Tensor:
    """Return the mean absolute difference of vertical plus that of horizontal neighbours, summed over images.

    Nothing is padded, so a constant image scores 0.

    Reference: Rudin, Osher, Fatemi, "Nonlinear total variation based noise removal algorithms", Physica D 1992, in the
    anisotropic form of Geiping et al., arXiv:2003.14053.
    """
    vertical = images.diff(dim=-2).abs().mean((-1, -2, -3))
    horizontal = images.diff(dim=-1).abs().mean((-1, -2, -3))
    return (vertical + horizontal).sum(-1)


def l2_norm(images: Tensor) -> Tensor:
    """Return the mean squared pixel value, summed over images."""
    return images.square().mean((-1, -2, -3)).sum(-1)
