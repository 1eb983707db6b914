"""Many coin flips at the price of a random byte each."""

import torch
from torch import Tensor

from priprune_plugins.masks import positions


def random_bytes(size: int, stream: torch.Generator) -> Tensor:
    """Return ``[size]`` uniform bytes from a CPU generator."""
    words = torch.empty(-(-size // 8), dtype=torch.int64)
    # The range must be given: by itself random_ leaves the sign bit 0.
    return words.random_(torch.iinfo(torch.int64).min, None, generator=stream).view(torch.uint8)[:size]


def below(draws: Tensor, level: int) -> Tensor:
    """Return bool, True where a byte of ``draws`` is less than ``level``, in [0, 255]."""
    # Into bytes and not into bool, for which torch compares one number at a time.
    return torch.lt(draws, level, out=torch.empty_like(draws)).view(torch.bool)


def equal(draws: Tensor, level: int) -> Tensor:
    """Return bool, True where a byte of ``draws`` is ``level``."""
    return torch.eq(draws, level, out=torch.empty_like(draws)).view(torch.bool)


def flips(size: int, probability: float, stream: torch.Generator) -> Tensor:
    """Return ``[size]`` bool on CPU, each True with ``probability``, in [0, 1], independently.

    A byte decides for all but one value of 256, and there a uniform number does: the probability is exact to float32.
    """
    draws = random_bytes(size, stream)
    level = min(int(probability * 256), 255)
    heads = below(draws, level)
    if probability * 256 > level:
        ties = positions(equal(draws, level))
        heads[ties] = torch.rand(ties.numel(), generator=stream) < probability * 256 - level
    return heads
