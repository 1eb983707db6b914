"""Noise of the Gumbel-Softmax, as the difference of its two draws.

Equation 7 enters only through ``G(1) - G(0)``, and the difference of two standard Gumbel variables is a standard
logistic one: one uniform number a coordinate instead of two.

Reference: Maddison, Mnih, Teh, "The Concrete Distribution", ICLR 2017, arXiv:1611.00712, appendix B.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_OFFSETS = 2**14


def logistic(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Return ``[count]`` standard logistic draws ``log u - log(1 - u)``, float32 on ``device``."""
    smallest = torch.finfo(torch.float32).tiny
    return torch.rand(count, generator=generator).clamp_(min=smallest).logit_().to(device)


def pooled(parts: Sequence[slice], scale: float, generator: torch.Generator, device: torch.device) -> list[Tensor]:
    """Return ``scale`` times logistic noise for each of ``parts``, windows of one pool at random offsets.

    Each coordinate's draw has exactly the logistic law; only draws of coordinates in different parts may coincide.
    That changes no coordinate's expected gradient, since alpha's objective is a sum over coordinates, and spares
    drawing ``D`` numbers and their logarithms at every step.
    """
    widest = max(part.stop - part.start for part in parts)
    pool = logistic(widest + _OFFSETS, generator, device).mul_(scale)
    offsets = torch.randint(_OFFSETS + 1, (len(parts),), generator=generator).tolist()
    return [pool[offset : offset + part.stop - part.start] for offset, part in zip(offsets, parts, strict=True)]
