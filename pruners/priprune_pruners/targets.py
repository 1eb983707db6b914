"""Which parameters a pruner may remove."""

from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_plugins import Layout


@dataclass(frozen=True, eq=False)
class Targets:
    """Options that every pruner with one global mask shares: Conv and Linear weights unless more is asked.

    Args:
        biases: Prune the biases of Conv and Linear layers too, as namhoonlee/snip-public does.
        norms: Prune every other parameter too: scales and shifts of norms, embeddings.
        dense_last: Leave the last Conv or Linear layer whole (``dense_classifier`` of Synaptic-Flow).
    """

    biases: bool = False
    norms: bool = False
    dense_last: bool = False

    def candidates(self, layout: Layout) -> Tensor:
        """Return ``[D]`` bool: True where these options allow pruning."""
        weights = [name for name, prunable in zip(layout.names, layout.prunable_layers, strict=True) if prunable]
        owners = {_module(name) for name in weights}
        last = _module(weights[-1]) if self.dense_last and weights else None
        flags = [
            _module(name) != last and (prunable or (self.biases if _module(name) in owners else self.norms))
            for name, prunable in zip(layout.names, layout.prunable_layers, strict=True)
        ]
        return layout.spread(torch.tensor(flags, device=layout.device))


def _module(name: str) -> str:
    return name.rpartition(".")[0]
