"""What a picture looks like before any gradient is known: priors map images ``[..., B, C, H, W]`` to ``[...]``.

A prior sums over the images, so that its pull on one image does not depend on how many others there are. What needs
the model or the upload besides is a penalty: see :mod:`priprune_attacks.penalties`.
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


def group_consistency(images: Tensor) -> Tensor:
    """Return the mean squared distance of ``[V, R, B, C, H, W]`` to the mean over a victim's restarts, ``[V, R]``.

    The restarts are the group. Its gradient is the same whether the mean is held fixed or not, because deviations from
    a mean sum to 0. Only restarts of one chunk see each other: a small memory budget makes smaller groups.

    Reference: Yin, Mallya, Vahdat, Alvarez, Kautz, Molchanov, "See through Gradients: Image Batch Recovery via
    GradInversion", CVPR 2021, arXiv:2104.07586, equation 11, with the pixel-wise mean as consensus (no registration).
    """
    return (images - images.mean(1, keepdim=True)).square().mean((-1, -2, -3)).sum(-1)
