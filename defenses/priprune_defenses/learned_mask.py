"""From a client's learned alphas to the mask that it uploads with, and what becomes of alphas that are not numbers."""

import logging
from typing import Literal

import torch
from torch import Tensor

from priprune_plugins import Client, RunError
from priprune_plugins.masks import above, num_kept, part_size
from priprune_plugins.messages import State

Nonfinite = Literal["stop", "reset"]
_logger = logging.getLogger(__name__)


def withheld_by_alpha(client: Client, state: State, first: float, nonfinite: Nonfinite) -> Tensor:
    """Return ``[D]`` bool: alpha > 0.5 and kept by the base mask.

    Args:
        client: Whose upload is made.
        state: Holds its ``preference [D]``, positive where alpha > 0.5; mended in place.
        first: The preference before the first participation.
        nonfinite: What happens to a preference that is not a number.

    Raises:
        RunError: There is one, and ``nonfinite`` says to stop.
    """
    withheld, finite = _positive(state["preference"], client.mask)
    if not finite:
        mended = _mended(client, state, first, nonfinite)
        withheld |= mended if client.mask is None else mended & client.mask
    if num_kept(withheld) == (withheld.numel() if client.mask is None else num_kept(client.mask)):
        _logger.warning("priprune: client %d withholds everything in round %d", client.client_id, client.round_idx)
    return withheld


def _positive(preference: Tensor, mask: Tensor | None) -> tuple[Tensor, bool]:
    """Return ``[D]`` bool, where the preference is positive and the mask keeps, and whether all preferences are finite.

    In parts: each is read once from memory.
    """
    positive, sums = torch.empty_like(preference, dtype=torch.bool), []
    size = part_size(preference)
    for start in range(0, preference.numel(), size):
        part = slice(start, start + size)
        flags = above(preference[part], 0.0, out=positive[part])
        if mask is not None:
            flags &= mask[part]
        sums.append(preference[part].sum())
    return positive, bool(torch.isfinite(torch.stack(sums)).all())


def _mended(client: Client, state: State, first: float, nonfinite: Nonfinite) -> Tensor:
    """Start the alphas anew that are not finite, in place, and return where they were."""
    preference = state["preference"]
    broken = ~torch.isfinite(preference)
    count = num_kept(broken)
    if count and nonfinite == "stop":
        raise RunError(
            f"defense priprune: {count} alphas of client {client.client_id} are not a number after round "
            f"{client.round_idx}; lower algorithm.lr or alpha_lr, or set nonfinite: reset"
        )
    preference[broken] = first
    state["resets"] = state.get("resets", 0) + count
    _logger.warning(
        "priprune: %d alphas of client %d were not a number in round %d and start anew, %d so far",
        *(count, client.client_id, client.round_idx, state["resets"]),
    )
    return broken
