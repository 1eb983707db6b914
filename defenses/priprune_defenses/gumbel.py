"""Noise of the Gumbel-Softmax, as the difference of its two draws.

Equation 7 enters only through ``G(1) - G(0)``, and the difference of two standard Gumbel variables is a standard
logistic one: one uniform number a coordinate instead of two.

Reference: Maddison, Mnih, Teh, "The Concrete Distribution", ICLR 2017, arXiv:1611.00712, appendix B.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def epoch_generator(generator: torch.Generator, epoch: int) -> torch.Generator:
    """Return an independent generator for a local epoch, derived from the fresh one of a client's round."""
    seeds = torch.randint(2**63 - 1, (epoch + 1,), generator=generator)
    return torch.Generator().manual_seed(int(seeds[epoch]))


def logistic(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Return ``[count]`` standard logistic draws ``log u - log(1 - u)``, float32 on ``device``."""
    uniform = torch.rand(count, generator=generator).clamp_(min=torch.finfo(torch.float32).tiny)
    return (uniform.log() - (1 - uniform).log_()).to(device)


def pooled(parts: Sequence[slice], scale: float, generator: torch.Generator, device: torch.device) -> list[Tensor]:
    """Return ``scale`` times logistic noise for each of ``parts``, windows of one pool at random offsets.

    Each coordinate's draw has exactly the logistic law; only draws of coordinates in different parts may coincide.
    That changes no coordinate's expected gradient, since alpha's objective is a sum over coordinates, and spares
    drawing ``D`` numbers and their logarithms at every step.
    """
    widest = max(part.stop - part.start for part in parts)
    pool = logistic(2 * widest, generator, device).mul_(scale)
    offsets = torch.randint(widest + 1, (len(parts),), generator=generator).tolist()
    return [pool[offset : offset + part.stop - part.start] for offset, part in zip(offsets, parts, strict=True)]
