"""Normalised mutual information of an image and its reconstruction, the paper's privacy measure."""

import torch
from torch import Tensor

from priprune_plugins.privacy.histograms import joint_histogram


def nmi(truth: Tensor, guess: Tensor, levels: int = 16) -> Tensor:
    """Return ``I(U; V) / mean(H(U), H(V))`` of the grey levels of each image pair.

    The paper does not give its number of levels, and the figure depends on it: at 256 levels uniform noise scores
    0.64 on a digit, so 16 is the default and every printed figure names its levels. Equal to scikit-learn's
    ``normalized_mutual_info_score`` (arithmetic mean) on the same labels, but for two constant images, which
    scikit-learn gives 1 and this function 0: a flat guess reveals nothing.

    Args:
        truth: ``[B, C, H, W]`` in [0, 1]; values outside are clamped.
        guess: Same shape; row ``b`` is the guess of ``truth[b]``.
        levels: Number of grey levels ``L``; a pixel's level is ``floor(x * L)``, capped at ``L - 1``.

    Returns:
        ``[B]`` float64 in [0, 1]; 0 where both entropies are 0.

    Raises:
        ValueError: The shapes differ, or a pixel is not finite.

    Reference:
        Strehl, Ghosh, "Cluster Ensembles", JMLR 3, 2002, equation 2, with the arithmetic mean for the geometric one.
    """
    joint = joint_histogram(truth, guess, levels)
    sides = _entropy(joint.sum(2)) + _entropy(joint.sum(1))
    shared = sides - _entropy(joint.flatten(1))
    ratio = 2.0 * shared / sides.where(sides > 0, 1.0)
    return ratio.clamp(0.0, 1.0)


def _entropy(probabilities: Tensor) -> Tensor:
    return -torch.xlogy(probabilities, probabilities).sum(1)
