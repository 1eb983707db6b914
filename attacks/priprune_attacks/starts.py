"""Where a reconstruction starts: images ``[B, C, H, W]`` from public facts and a generator of its own."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from priprune_plugins import Facts

Start = Callable[[Facts, int, torch.Generator], Tensor]
StartName = Literal["mean", "black", "uniform", "normal"]

# Enough to tell the images of a batch apart, too little to be seen.
_JITTER = 0.02


def uniform_noise(facts: Facts, num_images: int, generator: torch.Generator) -> Tensor:
    """Return images of uniform noise in [0, 1]; drawn on the generator's device."""
    return torch.rand(num_images, *facts.image_shape, generator=generator, device=generator.device)


def near_mean(facts: Facts, num_images: int, generator: torch.Generator) -> Tensor:
    """Return the public mean image plus noise in [0, 0.02]."""
    noise = _JITTER * uniform_noise(facts, num_images, generator)
    return (facts.mean_image.to(noise) + noise).clamp_(0.0, 1.0)


def near_black(facts: Facts, num_images: int, generator: torch.Generator) -> Tensor:
    """Return noise in [0, 0.02]; exactly black images of one label would never part."""
    return _JITTER * uniform_noise(facts, num_images, generator)


def normal_noise(facts: Facts, num_images: int, generator: torch.Generator) -> Tensor:
    """Return images of standard normal noise, outside of [0, 1] as often as not: the start of the DLG papers."""
    return torch.randn(num_images, *facts.image_shape, generator=generator, device=generator.device)


STARTS: Mapping[StartName, Start] = {
    "mean": near_mean,
    "black": near_black,
    "uniform": uniform_noise,
    "normal": normal_noise,
}
