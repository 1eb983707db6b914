"""A tensor's numbers as bytes."""

import torch
from torch import Tensor


def flat_bytes(tensor: Tensor) -> Tensor:
    """Return ``[n]`` uint8 on the CPU: the tensor's own memory where it lies there without gaps, else a copy."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if flat.numel() and flat.stride(0) != 1:
        # A single number counts as contiguous whatever its stride, and then has no view of bytes.
        flat = flat.clone(memory_format=torch.contiguous_format)
    return flat.view(torch.uint8)
