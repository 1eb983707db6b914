"""Random release with error feedback: what a client holds back it adds up, and sends the sum at a random later time.

Nothing is lost, every number sent mixes several batches, and when it is sent does not depend on the data.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_plugins.layout import Layout
from priprune_plugins.masks import apply_, chosen

# An age beyond it is no longer counted: it fits in a signed byte.
OLDEST = 126
_PART = 2**17  # numbers whose temporaries stay in a core's cache and need no new memory


@dataclass(frozen=True, eq=False)
class Held:
    """What a client has not sent yet.

    Args:
        residual: ``[D]`` the sum of the updates since each coordinate was last sent.
        age: ``[D]`` int8, over how many participations; 126 stands for more.
    """

    residual: Tensor
    age: Tensor

    @classmethod
    def nothing(cls, like: Tensor) -> "Held":
        """Return what a client holds before its first participation."""
        return cls(torch.zeros_like(like), torch.zeros_like(like, dtype=torch.int8))


def ripe(age: Tensor, gap: int) -> Tensor:
    """Return ``[D]`` bool: whose held sum covers ``gap`` participations or more; with this one it mixes ``gap + 1``."""
    return torch.ge(age, gap, out=torch.empty_like(age)).view(torch.bool)


def released(weights: Tensor, received: Tensor, held: Held, release: Tensor) -> Tensor:
    """Return ``[D]``: trained ``weights`` with what was held back where ``release`` is True, ``received`` elsewhere.

    A coordinate that holds nothing back leaves as the very number that was trained.
    """
    return chosen(release, weights + held.residual, received)


def hold_(held: Held, weights: Tensor, start: Tensor, release: Tensor, mask: Tensor | None) -> None:
    """Add this participation's update to what is held, then empty what ``release [D]`` sent, in place.

    A base-pruned coordinate holds nothing: when it regrows it starts anew.
    """
    empty = ~release if mask is None else mask & ~release
    for part, update in zip(torch.split(held.residual, _PART), _differences(weights, start), strict=True):
        part.add_(update)
    apply_(held.residual, empty)
    held.age.add_(1).clamp_(max=OLDEST).mul_(empty.view(torch.int8))


def layer_rms(weights: Tensor, start: Tensor, layout: Layout, sizes: list[int]) -> list[float]:
    """Return the root mean square of the update in each layer over the coordinates that the base mask keeps."""
    squares = [
        sum(float(torch.dot(update, update)) for update in _differences(weights[layer], start[layer]))
        for layer in layout.slices
    ]
    return [(square / max(size, 1)) ** 0.5 for square, size in zip(squares, sizes, strict=True)]


def dither_(sent: Tensor, layout: Layout, deviations: list[float], stream: torch.Generator) -> None:
    """Add Gaussian noise of one deviation a layer to ``sent [D]``, in place.

    It is no calibrated privacy where the deviation itself depends on the data.
    """
    for layer, deviation in zip(layout.slices, deviations, strict=True):
        for part in torch.split(sent[layer], _PART):
            noise = torch.randn(part.numel(), generator=stream, dtype=part.dtype)
            part.add_(noise.to(part.device), alpha=deviation)


def _differences(weights: Tensor, start: Tensor) -> Iterator[Tensor]:
    return (left - right for left, right in zip(torch.split(weights, _PART), torch.split(start, _PART), strict=True))
