"""What is searched in place of pixels: fewer numbers, decoded to images.

A latent is a pair of functions: ``encode`` turns the start ``[..., C, H, W]`` into what is searched, ``decode`` turns
that into images in [0, 1], differentiably.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional


class Latent(Protocol):
    """A space that images are decoded from."""

    def encode(self, images: Tensor) -> Tensor:
        """Return where the search starts, for images ``[..., C, H, W]``."""
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """Return images ``[..., C, H, W]``."""
        ...


@dataclass(frozen=True)
class Pixels:
    """Search the pixels themselves."""

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, latent: Tensor) -> Tensor:
        return latent


@dataclass(frozen=True)
class Bicubic:
    """Search a picture of lower resolution, enlarged by bicubic interpolation and clamped to [0, 1].

    Args:
        scale: Factor between the two sides; sides that it does not divide are rounded up.
        size: ``(H, W)`` of the images.

    Reference: Yue, Jin, Wong, Baron, Dai, "Gradient Obfuscation Gives a False Sense of Security in Federated
    Learning", USENIX Security 2023, arXiv:2206.04055, section 4 (the search in a low-dimensional space).
    """

    scale: int
    size: tuple[int, int]

    def encode(self, images: Tensor) -> Tensor:
        """Return the means over the pixels that fall on each pixel of the small picture."""
        height, width = (-(-side // self.scale) for side in self.size)
        small = functional.adaptive_avg_pool2d(images.flatten(0, -4), (height, width))
        return small.view(*images.shape[:-2], height, width)

    def decode(self, latent: Tensor) -> Tensor:
        flat = functional.interpolate(latent.flatten(0, -4), self.size, mode="bicubic", align_corners=False)
        return flat.view(*latent.shape[:-2], *self.size).clamp(0.0, 1.0)
