"""What a picture scores that holds nothing of the upload: the floors beside every privacy figure.

A reconstruction at or below its floors has not been shown to leak; it has not been shown to be private either.
"""

from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import Tensor

from priprune_plugins.messages import LabelledSet
from priprune_plugins.privacy.image_quality import psnr_db
from priprune_plugins.privacy.nmi import nmi


class Floor(TypedDict):
    """Mean figures of one floor over a batch."""

    psnr_db: float
    nmi: float


def floor_images(
    truth: Tensor,
    labels: Tensor,
    mean_image: Tensor,
    pool: LabelledSet,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return the floors' pictures of one batch.

    Args:
        truth: ``[B, C, H, W]`` in [0, 1].
        labels: ``[B]`` integers.
        mean_image: ``[C, H, W]`` public mean image.
        pool: Public images to draw the other image of the class from; an image equal to the truth is left out.
        generator: Stream of the noise and of the draws from the pool.

    Returns:
        ``noise`` (uniform), ``black``, ``white``, ``mean_image``, ``same_class``; ``[B, C, H, W]`` each. A row of
        ``same_class`` is NaN where the pool holds no other image of that class.
    """
    noise = torch.rand(truth.shape, generator=generator, device=generator.device, dtype=truth.dtype)
    others = [_same_class(image, int(label), pool, generator) for image, label in zip(truth, labels, strict=True)]
    return {
        "noise": noise.to(truth.device),
        "black": torch.zeros_like(truth),
        "white": torch.ones_like(truth),
        "mean_image": mean_image.to(truth).expand_as(truth),
        "same_class": torch.stack(others) if others else torch.zeros_like(truth),
    }


def floors(
    truth: Tensor,
    labels: Tensor,
    mean_image: Tensor,
    pool: LabelledSet,
    generator: torch.Generator,
    levels: int = 16,
) -> dict[str, Floor]:
    """Return PSNR and NMI of every floor, means over the batch.

    Args:
        truth: ``[B, C, H, W]`` in [0, 1].
        labels: ``[B]`` integers.
        mean_image: ``[C, H, W]``.
        pool: Public images, see :func:`floor_images`.
        generator: Stream of the noise and of the draws from the pool.
        levels: Grey levels of the NMI.

    Returns:
        One entry per floor; ``same_class`` is the mean over the images that have one, and is left out where none has.
    """
    pictures = floor_images(truth, labels, mean_image, pool, generator)
    found = {name: _figures(truth, images, levels) for name, images in pictures.items()}
    return {name: figures for name, figures in found.items() if figures is not None}


def best_floor_db(floors_of_one: Mapping[str, Floor]) -> float:
    """Return the highest PSNR among the floors, in dB: what an attack has to beat."""
    return max(floor["psnr_db"] for floor in floors_of_one.values())


def _same_class(image: Tensor, label: int, pool: LabelledSet, generator: torch.Generator) -> Tensor:
    candidates = torch.nonzero(pool.labels == label).squeeze(1)
    images = pool.images[candidates].to(image)
    different = torch.nonzero((images != image).flatten(1).any(1)).squeeze(1)
    # Drawn even from one candidate, so that the stream does not depend on how many there are.
    draw = float(torch.rand((), generator=generator, device=generator.device, dtype=torch.float64))
    if different.numel() == 0:
        return torch.full_like(image, torch.nan)
    return images[different[int(draw * different.numel())]]


def _figures(truth: Tensor, images: Tensor, levels: int) -> Floor | None:
    there = torch.isfinite(images).flatten(1).all(1)
    if not there.any():
        return None
    pair = truth[there], images[there]
    return {"psnr_db": float(psnr_db(*pair).mean()), "nmi": float(nmi(*pair, levels).mean())}
