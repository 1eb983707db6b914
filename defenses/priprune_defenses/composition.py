"""PriPrune's start weights: the client's own values where its mask says so, the broadcast elsewhere.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, Algorithm 3 line 7 and the text after equation 8.
"""

import torch
from torch import Tensor

from priprune_defenses.descent import as_number
from priprune_plugins.masks import part_size
from priprune_plugins.messages import State


def keep(state: State, weights: Tensor, withheld: Tensor) -> None:
    """Remember a client's trained ``weights [D]`` and the mask it uploaded with, in place of those of the time before.

    All weights and not the withheld ones only: the accuracy term asks of every coordinate whether the client's own
    value would have served it better. Weights that are not finite are not kept: they would return every time.
    """
    if not torch.isfinite(weights.sum()):
        state.pop("own", None)
        return
    # Into the memory that is there: a new vector a round costs more than the copy itself.
    state["own"] = state["own"].copy_(weights) if "own" in state else weights.clone()
    state["withheld"] = withheld


def compose_(weights: Tensor, own: Tensor, chosen: Tensor) -> None:
    """Set ``weights [D]`` to ``own`` exactly where ``chosen`` is True, in place."""
    # lerp returns its ends exactly at the weights 0 and 1, and runs several times faster than where.
    size = part_size(weights)
    scratch = weights.new_empty(min(size, weights.numel()))
    vectors = (torch.split(vector, size) for vector in (weights, own, chosen))
    for part, value, flag in zip(*vectors, strict=True):
        part.lerp_(value, as_number(flag, scratch[: flag.numel()]))


def swap_(weights: Tensor, broadcast: Tensor, own: Tensor, before: Tensor, after: Tensor) -> None:
    """Exchange the start values under ``weights [D]`` from the mask ``before`` to ``after``, in place.

    What training has added since the start stays: ``weights = start + trained`` becomes ``other start + trained``.
    """
    turn = after.view(torch.uint8).to(weights.dtype).sub_(before.view(torch.uint8))
    weights.addcmul_(own - broadcast, turn)
