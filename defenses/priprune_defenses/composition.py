"""PriPrune's start weights: the client's own values where its mask says so, the broadcast elsewhere.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, Algorithm 3 line 7 and the text after equation 8.
"""

import torch
from torch import Tensor

from priprune_plugins.messages import State


def keep(state: State, weights: Tensor, withheld: Tensor, finite: bool = False) -> None:
    """Remember a client's trained ``weights [D]`` and the mask it uploaded with, in place of those of the time before.

    All weights and not the withheld ones only: the accuracy term asks of every coordinate whether the client's own
    value would have served it better. Weights that are not finite are not kept: they would return every time.

    Args:
        state: What the client remembers.
        weights: ``[D]``, kept itself and not copied: nobody may write to it any more.
        withheld: ``[D]`` bool.
        finite: Whether all weights are known to be finite.
    """
    if not (finite or torch.isfinite(weights.sum())):
        state.pop("own", None)
        return
    state["own"], state["withheld"] = weights, withheld


def swap_(weights: Tensor, broadcast: Tensor, own: Tensor, before: Tensor, after: Tensor) -> None:
    """Exchange the start values under ``weights [D]`` from the mask ``before`` to ``after``, in place.

    What training has added since the start stays: ``weights = start + trained`` becomes ``other start + trained``.
    """
    turn = after.view(torch.uint8).to(weights.dtype).sub_(before.view(torch.uint8))
    weights.addcmul_(own - broadcast, turn)
