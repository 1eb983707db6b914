"""Pseudo-pruning: what a client withholds it keeps, and starts from it when it next takes part.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, Insight 2 and Figure 3.
"""

import torch
from torch import Tensor

from priprune_plugins.masks import put_, selected
from priprune_plugins.messages import State


def keep(state: State, withheld: Tensor, weights: Tensor) -> None:
    """Remember the withheld values of ``weights [D]`` in place of those of the time before.

    Only the withheld values are stored, in order of position. Where training diverged nothing is: a value that is not
    finite would return in every later participation.
    """
    kept = selected(weights, withheld)
    if not torch.isfinite(kept.sum()):
        state.pop("withheld", None)
        state.pop("kept", None)
        return
    state["withheld"], state["kept"] = withheld, kept


def compose_(weights: Tensor, state: State) -> None:
    """Put the kept values back into ``weights [D]``, in place; a client's first participation changes nothing."""
    if "kept" in state:
        device = weights.device
        put_(weights, state["withheld"].to(device), state["kept"].to(device))
