"""Standardisation inside the model, so that everything outside it sees images in [0, 1]."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """``net((images - mean) / std)``.

    The constants are neither parameters nor buffers: they are public, never sent, and must not pass for batch-norm
    statistics. They follow the module's device and dtype.

    Args:
        mean: One number per channel.
        std: One positive number per channel.
        net: Maps standardised images to logits.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], net: nn.Module) -> None:
        super().__init__()
        self.mean, self.std = tuple(mean), tuple(std)
        self.net = net
        self._place(torch.empty(0))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``[B, C, H, W]`` in [0, 1] to the net's output."""
        logits: Tensor = self.net((images - self._shift) / self._scale)
        return logits

    def _place(self, like: Tensor) -> None:
        # Made from the Python numbers each time: to_empty() and half().double() must not spoil them.
        self._shift = torch.tensor(self.mean, device=like.device, dtype=like.dtype).view(-1, 1, 1)
        self._scale = torch.tensor(self.std, device=like.device, dtype=like.dtype).view(-1, 1, 1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Standardise":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._place(fn(self._shift))
        return self
