"""PruneFL's next mask at an asked rate: the greedy ratio rule, bounded or filled up to the count."""

from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_plugins import Layout
from priprune_plugins.masks import num_pruned
from priprune_pruners.layer_seconds import CONSTANT_SHARE
from priprune_pruners.reconfiguration import reconfigured, survivors
from priprune_pruners.selection import keep_top


@dataclass(frozen=True, eq=False)
class TimedChoice:
    """Chooses by squared gradient per second.

    Args:
        layout: Layout of the model.
        seconds: ``[layers]`` seconds per parameter and round.
        constant: Seconds of a round without any parameter; None = ``CONSTANT_SHARE`` of all parameters' time.
        rate: Fraction of the prunable weights removed at least, in [0, 1).
        fill: Go on past the rule's stop until exactly the rate is removed.
    """

    layout: Layout
    seconds: Tensor
    constant: float | None
    rate: float
    fill: bool

    def next_mask(self, weights: Tensor, mask: Tensor, importance: Tensor, decrease: float) -> Tensor:
        """Return the mask after a reconfiguration, ``[D]`` bool.

        Args:
            weights: ``[D]``.
            mask: ``[D]`` bool, the mask so far.
            importance: ``[D]`` summed squared gradients.
            decrease: Share of a layer's kept weights that is up for removal.
        """
        layout = self.layout
        stays, most = survivors(weights, mask, layout, decrease), num_kept(layout.prunable, self.rate)
        chosen = reconfigured(stays, importance, self.seconds, self._constant, layout, most, self.fill)
        return within_rate(weights, chosen, layout.prunable, self.rate)

    @property
    def _constant(self) -> float:
        if self.constant is not None:
            return self.constant
        return CONSTANT_SHARE * float((self.seconds * torch.tensor(self.layout.sizes)).sum())


def within_rate(weights: Tensor, mask: Tensor, prunable: Tensor, rate: float) -> Tensor:
    """Return ``mask``, the smallest weights taken out where it keeps more than the rate allows, ``[D]`` bool."""
    return keep_top(weights.abs(), mask & prunable, num_kept(prunable, rate)) | ~prunable


def num_kept(prunable: Tensor, rate: float) -> int:
    """Return how many of the prunable weights a rate keeps."""
    total = int(prunable.count_nonzero())
    return total - num_pruned(rate, total)
