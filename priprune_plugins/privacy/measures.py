"""Every figure of one reconstruction against its truth."""

from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_plugins.messages import Reconstruction
from priprune_plugins.privacy.histograms import kl_divergence, min_entropy_leakage
from priprune_plugins.privacy.image_quality import finite, mse, psnr_db, ssim
from priprune_plugins.privacy.matching import label_accuracy, match
from priprune_plugins.privacy.nmi import nmi


@dataclass(frozen=True)
class Measures:
    """Figures of one victim, means over the matched images of its batch.

    Args:
        nmi: Normalised mutual information in [0, 1] at ``nmi_levels`` grey levels.
        nmi_levels: Grey levels of ``nmi``, ``kl`` and ``min_entropy``.
        psnr_db: Mean PSNR in dB, each image capped at 120.
        ssim: Structural similarity in [-1, 1].
        mse: Mean squared error.
        kl: Divergence of the grey-level histograms in bits.
        min_entropy: Min-entropy leakage in bits.
        label_accuracy: Share of the labels guessed; None where the attack guesses none, 0 where it failed.
        failed: None, or why there is no usable reconstruction; the other figures are then those of a black picture.
        psnr_db_per_image: One PSNR per image, in the truth's order.
        order: ``guess[order][b]`` belongs to ``truth[b]``.
    """

    nmi: float
    nmi_levels: int
    psnr_db: float
    ssim: float
    mse: float
    kl: float
    min_entropy: float
    label_accuracy: float | None
    failed: str | None
    psnr_db_per_image: tuple[float, ...]
    order: tuple[int, ...]


def measure(
    truth_images: Tensor,
    truth_labels: Tensor,
    reconstruction: Reconstruction,
    levels: int = 16,
) -> Measures:
    """Return every figure of one reconstruction.

    The guess is clamped to [0, 1] first: the value range is public. A failed or non-finite reconstruction is never
    dropped: it counts with the figures of a black picture (whose NMI and min-entropy leakage are 0), no label
    right, and ``failed`` says why, so that a crash of the attacker does not pass for a defence unseen.

    Args:
        truth_images: ``[B, C, H, W]`` in [0, 1].
        truth_labels: ``[B]`` integers.
        reconstruction: The attack's guess.
        levels: Grey levels of NMI, KL divergence and min-entropy leakage.

    Raises:
        ValueError: The guess has another shape than the truth.
    """
    if reconstruction.images.shape != truth_images.shape:
        got, want = list(reconstruction.images.shape), list(truth_images.shape)
        raise ValueError(f"reconstruction.images must have shape {want}, got {got}")
    failed = _failure(reconstruction)
    images = torch.zeros_like(truth_images) if failed else reconstruction.images.to(truth_images).clamp(0.0, 1.0)
    labels = None if failed else reconstruction.labels
    order = match(truth_images, images, truth_labels, labels)
    right = None if labels is None else label_accuracy(truth_labels, labels)
    return _figures(truth_images, images[order], levels, 0.0 if failed else right, failed, order)


def _failure(reconstruction: Reconstruction) -> str | None:
    if reconstruction.failed is not None:
        return reconstruction.failed or "the attack gave no reason"
    return None if finite(reconstruction.images) else "the reconstruction is not finite"


def _figures(
    truth: Tensor, guess: Tensor, levels: int, right: float | None, failed: str | None, order: Tensor
) -> Measures:
    decibels = psnr_db(truth, guess)
    return Measures(
        nmi=float(nmi(truth, guess, levels).mean()),
        nmi_levels=levels,
        psnr_db=float(decibels.mean()),
        ssim=float(ssim(truth, guess).mean()),
        mse=float(mse(truth, guess).mean()),
        kl=float(kl_divergence(truth, guess, levels).mean()),
        min_entropy=float(min_entropy_leakage(truth, guess, levels).mean()),
        label_accuracy=right,
        failed=failed,
        psnr_db_per_image=tuple(decibels.tolist()),
        order=tuple(order.tolist()),
    )
