"""Sums that keep their digits in low precision."""

import torch
from torch import Tensor


def total(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the sum over ``axes``, in float32 where ``values`` have fewer bits."""
    return values.sum(axes, dtype=torch.promote_types(values.dtype, torch.float32))
