"""What a run's record says of ``release``: how much was withheld, and over how many batches what was sent is mixed."""

from typing import Any

import torch
from torch import Tensor

from priprune_plugins import Upload
from priprune_plugins.masks import num_kept, part_size
from priprune_plugins.messages import State

# An upload's extra: coordinates kept by the base mask, sent, the participations that these mix in all, and the fewest.
MIXED = "release_mixed"
_FULL = 127  # above every age, and all bits of one


def mixing(age: Tensor, release: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``[4]``: coordinates kept, coordinates sent, the sum and the minimum of the participations that they mix.

    Args:
        age: ``[D]`` int8, participations held back before this one.
        release: ``[D]`` bool, what is sent now.
        mask: ``[D]`` bool base mask, or None.
    """
    kept = age.numel() if mask is None else num_kept(mask)
    sent, short, most = num_kept(release), 0, 0
    size = part_size(age)
    for ages, now in zip(torch.split(age, size), torch.split(release.view(torch.int8), size), strict=True):
        shortfall = ages.bitwise_xor(_FULL).mul_(now)  # 127 - age where sent, 0 elsewhere
        # As floating point, which is exact here: torch adds up bytes several times slower.
        short, most = short + int(shortfall.double().sum()), max(most, int(shortfall.max()))
    figures = [kept, sent, (_FULL + 1) * sent - short, _FULL + 1 - most if sent else 0]
    return torch.tensor(figures, dtype=torch.float64, device=age.device)


def remember(state: State, upload: Upload, images_needed: float) -> None:
    """Add one client's figures to those of the round.

    Args:
        state: The server's.
        upload: What was received.
        images_needed: Images that a client needs so that no batch meets itself.
    """
    kept, sent, mixed, fewest = (int(value) for value in upload.extras[MIXED].tolist())
    for name, value in (("kept", kept), ("sent", sent), ("mixed", mixed)):
        state[name] = state.get(name, 0) + value
    if sent:
        state["fewest"] = min(state.get("fewest", fewest), fewest)
    share = upload.num_samples / len(upload.client_ids) / images_needed
    state["poorest"] = min(state.get("poorest", share), share)


def record_entry(state: State) -> dict[str, Any]:
    """Return the round's figures and empty all but the poorest client's, which is that of the whole run."""
    sent, kept = state.pop("sent", 0), state.pop("kept", 0)
    mixed, fewest = state.pop("mixed", 0), state.pop("fewest", None)
    return {
        "rate": 1 - sent / kept if kept else None,
        "mixed_mean": mixed / sent if sent else None,
        "mixed_min": fewest,
        "poorest_client": state.get("poorest"),
    }
