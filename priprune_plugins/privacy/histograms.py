"""Grey-level histograms of image pairs, and two leakage measures on them beside the mutual information.

Both answer the open question of the PriPrune paper, how min-entropy and Kullback-Leibler divergence rank methods;
they share the interface ``(truth, guess, levels) -> [B]`` of :func:`priprune_plugins.privacy.nmi.nmi`. Units: bits.
"""

import torch
from torch import Tensor

PSEUDO_COUNT = 0.5


def grey_levels(images: Tensor, levels: int) -> Tensor:
    """Return every pixel's grey level, ``floor(x * levels)`` of the clamped pixel, capped at ``levels - 1``.

    Args:
        images: ``[B, ...]`` in [0, 1]; values outside are clamped.
        levels: Number of grey levels, at least 1.

    Returns:
        ``[B, N]`` int64, one row per image with all channels in one row.

    Raises:
        ValueError: ``levels`` below 1, or a pixel that is NaN or infinite.
    """
    if levels < 1:
        raise ValueError(f"levels must be at least 1, got {levels}")
    if not torch.isfinite(images).all():
        raise ValueError("a pixel is not finite: it has no grey level")
    bins = (images.flatten(1).clamp(0.0, 1.0) * levels).floor().long()
    return bins.clamp_(max=levels - 1)


def joint_histogram(truth: Tensor, guess: Tensor, levels: int) -> Tensor:
    """Return the joint distribution of grey levels of each image pair.

    Args:
        truth: ``[B, C, H, W]`` in [0, 1].
        guess: Same shape; row ``b`` is the guess of ``truth[b]``.
        levels: Number of grey levels ``L``.

    Returns:
        ``[B, L, L]`` float64, first level axis the truth's; each image's entries sum to 1.

    Raises:
        ValueError: The shapes differ, or a pixel is not finite.
    """
    if truth.shape != guess.shape:
        raise ValueError(f"truth {list(truth.shape)} and guess {list(guess.shape)} differ in shape")
    num_images = truth.shape[0]
    pairs = grey_levels(truth, levels) * levels + grey_levels(guess, levels)  # [B, N]
    offsets = torch.arange(num_images, device=pairs.device).unsqueeze(1) * levels * levels
    counts = torch.bincount((pairs + offsets).flatten(), minlength=num_images * levels * levels)
    return counts.reshape(num_images, levels, levels).double() / max(pairs.shape[1], 1)


def kl_divergence(truth: Tensor, guess: Tensor, levels: int = 16) -> Tensor:
    """Return ``D(P_truth || P_guess)`` between the grey-level histograms of each pair, in bits.

    Lower means that the reconstruction has the truth's grey levels, wherever they lie: a picture whose pixels are
    shuffled scores 0. A departure from the textbook: each level of both histograms gets a pseudo-count of one half
    (the Krichevsky-Trofimov estimator), else one level that only the truth has would make the figure infinite.

    Args:
        truth: ``[B, C, H, W]`` in [0, 1].
        guess: Same shape.
        levels: Number of grey levels.

    Returns:
        ``[B]`` float64, at least 0.

    Reference:
        Kullback, Leibler, "On Information and Sufficiency", Annals of Mathematical Statistics 22, 1951, equation 2.4.
        Krichevsky, Trofimov, "The Performance of Universal Encoding", IEEE Transactions on Information Theory, 1981.
    """
    joint = joint_histogram(truth, guess, levels)
    pixels = truth[0].numel() if len(truth) else 1
    p, q = (_smoothed(joint.sum(axis), pixels) for axis in (2, 1))
    return (p * (p / q).log2()).sum(1).clamp_(min=0.0)


def min_entropy_leakage(truth: Tensor, guess: Tensor, levels: int = 16) -> Tensor:
    """Return how many bits a pixel of the guess saves who must name the truth's grey level there in one try.

    ``H_inf(U) - H_inf(U | V) = log2(sum_v max_u p(u, v) / max_u p(u))``, U the truth's and V the guess's level.

    Args:
        truth: ``[B, C, H, W]`` in [0, 1].
        guess: Same shape.
        levels: Number of grey levels.

    Returns:
        ``[B]`` float64 in [0, log2(levels)]; 0 where the guess helps no one-try attacker.

    Reference:
        Smith, "On the Foundations of Quantitative Information Flow", FoSSaCS 2009, definitions 3 to 5.
    """
    joint = joint_histogram(truth, guess, levels)
    with_guess = joint.amax(1).sum(1)
    without = joint.sum(2).amax(1)
    return (with_guess / without).log2().clamp_(min=0.0)


def _smoothed(histogram: Tensor, pixels: int) -> Tensor:
    return (histogram * pixels + PSEUDO_COUNT) / (pixels + PSEUDO_COUNT * histogram.shape[1])
