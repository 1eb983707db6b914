"""What a round's record says of its masks: density, density per layer, and how far the server's mask moved."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.layout import Layout


def kept_per_layer(mask: Tensor | None, layout: Layout) -> list[int]:
    """Return how many weights of each prunable layer a mask keeps, in layout order.

    Args:
        mask: ``[D]`` bool, True = kept; None keeps everything.
        layout: Layout of the model.
    """
    parts = zip(layout.slices, layout.sizes, layout.prunable_layers, strict=True)
    return [size if mask is None else int(mask[part].count_nonzero()) for part, size, prunable in parts if prunable]


def changed_share(before: Tensor | None, after: Tensor | None, prunable: Tensor) -> float:
    """Return the share of prunable coordinates whose mask differs, in [0, 1]; None stands for a mask of True.

    Args:
        before: ``[D]`` bool, or None.
        after: ``[D]`` bool, or None.
        prunable: ``[D]`` bool, which coordinates count.
    """
    total = int(prunable.count_nonzero())
    if before is None:
        before, after = after, before
    if total == 0 or before is None:
        return 0.0
    differs = ~before if after is None else before ^ after
    return int(differs.logical_and_(prunable).count_nonzero()) / total


class MaskMeter:
    """Measures each round's masks, the server's and its clients', counting a mask anew only where it is another one.

    Args:
        layout: Layout of the model.

    Attributes:
        last: ``[D]`` bool, the mask of the last broadcast, or None.
        changed: Whether it differs from that of the broadcast before.
        dead: Names of the layers that have been told to have no weight left.
    """

    def __init__(self, layout: Layout) -> None:
        named = list(zip(layout.names, layout.sizes, layout.prunable_layers, strict=True))
        self.names = tuple(name for name, _, prunable in named if prunable)
        self._sizes = [size for _, size, prunable in named if prunable]
        self._layout = layout
        self._global: list[int] | None = None
        self._change = 0.0
        self._broadcast: Tensor | None = None
        self.last: Tensor | None = None
        self.changed = False
        self.dead: set[str] = set()

    def follow(self, broadcast: Tensor | None) -> None:
        """Take the server's mask of the next broadcast, ``[D]`` bool or None."""
        self.changed = not _same(broadcast, self.last)
        self._change = changed_share(self.last, broadcast, self._layout.prunable) if self.changed else 0.0
        self._broadcast = broadcast
        if self.changed:
            self.last = None if broadcast is None else broadcast.clone()

    def measure(self, masks: Sequence[Tensor | None]) -> dict[str, Any]:
        """Return ``density`` and ``layer_density`` (one per prunable layer), means over clients, and ``mask_change``.

        Args:
            masks: ``[D]`` bool per client at its upload, or None; the very broadcast one where a client set no other.
        """
        if self.changed or self._global is None:
            self._global = kept_per_layer(self.last, self._layout)
        counts = {id(self._broadcast): self._global}
        for mask in masks:
            if id(mask) not in counts:
                counts[id(mask)] = kept_per_layer(mask, self._layout)
        of_clients = [counts[id(mask)] for mask in masks] or [self._global]
        kept = [sum(layer) / len(of_clients) for layer in zip(*of_clients, strict=True)]
        layers = [count / size for count, size in zip(kept, self._sizes, strict=True)]
        density = sum(kept) / sum(self._sizes) if kept else 1.0
        return {"density": density, "layer_density": layers, "mask_change": self._change}

    def died(self, layer_density: Sequence[float]) -> list[str]:
        """Return the layers that have no weight left, each only the first time."""
        dead = [name for name, density in zip(self.names, layer_density, strict=True) if density == 0]
        new = [name for name in dead if name not in self.dead]
        self.dead.update(new)
        return new


def _same(left: Tensor | None, right: Tensor | None) -> bool:
    return left is right if left is None or right is None else torch.equal(left, right)
