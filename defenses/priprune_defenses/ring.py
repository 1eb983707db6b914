"""Real numbers as elements of the ring of integers modulo 2**64, where sums wrap around and lose nothing.

A number is rounded to a multiple of ``2**-bits``; the integer is held as int64, whose additions are those of the ring.
"""

import torch
from torch import Tensor

from priprune_plugins.masks import PART

ITEM_BYTES = 8


def largest(bits: int, members: int) -> float:
    """Return the bound below which ``members`` numbers of ``bits`` fractional bits have a sum that does not wrap."""
    return 2.0 ** (63 - bits) / members


def encoded(vector: Tensor, factor: float, bits: int, members: int) -> Tensor:
    """Return ``round(factor * vector * 2**bits)``, halves to even, as ``[N]`` int64 on CPU.

    Args:
        vector: Of any shape and dtype.
        factor: What it is multiplied by, in float64.
        bits: Fractional bits.
        members: How many such vectors will be added.

    Raises:
        OverflowError: A number is not below :func:`largest`, or not finite.
    """
    flat = vector.detach().reshape(-1).cpu()
    ring = torch.empty(flat.shape, dtype=torch.int64)
    limit = largest(bits, members) * 2.0**bits
    # Part by part: float64 temporaries of a whole model would take four times its memory.
    for part, out in zip(torch.split(flat, PART), torch.split(ring, PART), strict=True):
        scaled = torch.mul(part.double(), factor * 2.0**bits).round_()
        highest = float(scaled.abs().max()) if part.numel() else 0.0
        if not highest < limit:
            raise OverflowError(highest / 2.0**bits)
        out.copy_(scaled)
    return ring


def decoded(ring: Tensor, bits: int) -> Tensor:
    """Return the float64 numbers that ring elements stand for; exact below ``2**53`` steps."""
    return ring.double().mul_(2.0**-bits)
