"""Random release with error feedback: what a client holds back it adds up, and sends the sum at a random later time.

Nothing is lost, every number sent mixes several batches, and when it is sent does not depend on the data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.layout import Layout
from priprune_plugins.masks import apply_, choose_, part_size

# An age beyond it is no longer counted: it fits in a signed byte.
OLDEST = 126


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


def gap_after(taken: int, gap: int, warmup: int) -> int:
    """Return the gap of a client that took part ``taken`` times: from 1 to ``gap`` evenly over ``warmup`` of them."""
    return gap if taken >= warmup else min(gap, 1 + taken * (gap - 1) // warmup)


def ripe(age: Tensor, gap: int) -> Tensor:
    """Return ``[D]`` bool: whose held sum covers ``gap`` participations or more; with this one it mixes ``gap + 1``."""
    return torch.ge(age, gap, out=torch.empty_like(age)).view(torch.bool)


def released(weights: Tensor, received: Tensor, held: Held, release: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``[D]``: trained ``weights`` with what was held back where ``release`` is True, ``received`` elsewhere.

    A coordinate that holds nothing back leaves as the very number that was trained, and a base-pruned one as 0.
    """
    sent = torch.empty_like(weights)
    vectors = (sent, weights, received, held.residual, release, mask)
    for result, trained, before, residual, now, kept in _parts(*vectors):
        apply_(choose_(torch.add(trained, residual, out=result), now, before), kept)
    return sent


def hold_(held: Held, weights: Tensor, start: Tensor, release: Tensor, mask: Tensor | None) -> None:
    """Add this participation's update to what is held, then empty what ``release [D]`` sent, in place.

    A base-pruned coordinate holds nothing: when it regrows it starts anew.
    """
    for residual, age, trained, began, now, kept in _parts(held.residual, held.age, weights, start, release, mask):
        stays = ~now if kept is None else kept & ~now
        apply_(residual.add_(trained - began), stays)
        age.add_(1).clamp_(max=OLDEST).mul_(stays.view(torch.int8))


def layer_rms(weights: Tensor, start: Tensor, layout: Layout, sizes: list[int]) -> list[float]:
    """Return the root mean square of the update in each layer over the coordinates that the base mask keeps."""
    squares = [sum(_squares(weights[layer], start[layer])) for layer in layout.slices]
    return [(square / max(size, 1)) ** 0.5 for square, size in zip(squares, sizes, strict=True)]


def dither_(
    sent: Tensor, mask: Tensor | None, layout: Layout, deviations: list[float], stream: torch.Generator
) -> None:
    """Add Gaussian noise of one deviation a layer to what ``mask`` keeps of ``sent [D]``, in place.

    It is no calibrated privacy where the deviation itself depends on the data.
    """
    for layer, deviation in zip(layout.slices, deviations, strict=True):
        for part, kept in _parts(sent[layer], None if mask is None else mask[layer]):
            noise = torch.randn(part.numel(), generator=stream, dtype=part.dtype).to(part.device)
            part.add_(apply_(noise, kept), alpha=deviation)


def _squares(weights: Tensor, start: Tensor) -> Iterator[float]:
    for trained, began in _parts(weights, start):
        update = trained - began
        yield float(torch.dot(update, update))


def _parts(first: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Yield the same stretch of all vectors, on CPU short enough for a core's cache; of a vector that is None, None."""
    size = part_size(first)
    for start in range(0, first.numel(), size):
        yield tuple(None if vector is None else vector[start : start + size] for vector in (first, *others))
