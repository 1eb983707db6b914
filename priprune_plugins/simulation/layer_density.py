"""What a round's record says of its masks: density, density per layer, and how far the server's mask moved."""

from collections.abc import Sequence
from typing import Any

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
    """Measures the base masks of each round's clients, counting a mask anew only where it is another one.

    Args:
        layout: Layout of the model.

    Attributes:
        dead: Names of the layers that have been told to have no weight left.
    """

    def __init__(self, layout: Layout) -> None:
        named = list(zip(layout.names, layout.sizes, layout.prunable_layers, strict=True))
        self.names = tuple(name for name, _, prunable in named if prunable)
        self._sizes = [size for _, size, prunable in named if prunable]
        self._layout = layout
        self._global: list[int] | None = None
        self.dead: set[str] = set()

    def measure(self, masks: Sequence[Tensor | None], broadcast: Tensor | None, changed: bool) -> dict[str, Any]:
        """Return ``density`` and ``layer_density`` (one per prunable layer), means over the round's clients.

        Args:
            masks: ``[D]`` bool per client at its upload, or None; the very ``broadcast`` where a client set no other.
            broadcast: The server's mask of this round.
            changed: Whether ``broadcast`` differs from that of the round before.
        """
        if changed or self._global is None:
            self._global = kept_per_layer(broadcast, self._layout)
        counts = {id(broadcast): self._global}
        for mask in masks:
            if id(mask) not in counts:
                counts[id(mask)] = kept_per_layer(mask, self._layout)
        of_clients = [counts[id(mask)] for mask in masks] or [self._global]
        kept = [sum(layer) / len(of_clients) for layer in zip(*of_clients, strict=True)]
        layers = [count / size for count, size in zip(kept, self._sizes, strict=True)]
        return {"density": sum(kept) / sum(self._sizes) if kept else 1.0, "layer_density": layers}

    def died(self, layer_density: Sequence[float]) -> list[str]:
        """Return the layers that have no weight left, each only the first time."""
        dead = [name for name, density in zip(self.names, layer_density, strict=True) if density == 0]
        new = [name for name in dead if name not in self.dead]
        self.dead.update(new)
        return new
