"""Which coordinates a fixed-rate defence withholds: an exact number of those that the base mask keeps."""

from typing import Literal

import torch
from torch import Tensor

from priprune_defenses.order import is_lowest
from priprune_plugins import Client, Upload
from priprune_plugins.masks import num_pruned

Scope = Literal["global", "layer"]


def free_coordinates(client: Client, upload: Upload) -> Tensor | None:
    """Return ``[D]`` bool: what the base mask keeps and no earlier defence withheld; None = everything."""
    if client.mask is None or upload.shared is None:
        return upload.shared if client.mask is None else client.mask
    return client.mask & upload.shared


def withheld_lowest(scores: Tensor, client: Client, free: Tensor | None, rate: float, scope: Scope) -> Tensor:
    """Return the mask of the lowest ``scores`` among the ``free`` coordinates.

    The count is taken of the coordinates that the base mask keeps, so that the rates of two defences add up.

    Args:
        scores: ``[D]``, no NaN, below infinity; the lowest go first, ties by position.
        client: Whose base mask and layout are meant.
        free: ``[D]`` bool: what may be withheld; None = everything.
        rate: Fraction of the kept coordinates withheld, in [0, 1).
        scope: One count over all layers, or one in each layer.

    Returns:
        ``[D]`` bool, True = withheld: ``round(rate * kept)`` coordinates of the model or of each layer, or all free
        ones where fewer are left.
    """
    ranked = scores if free is None else scores.masked_fill(~free, torch.inf)
    chosen = []
    for part in _groups(client, scope):
        count = min(num_pruned(rate, _count(client.mask, part)), _count(free, part))
        chosen.append(is_lowest(ranked[part], count))
    return torch.cat(chosen)


def _count(mask: Tensor | None, part: slice) -> int:
    return part.stop - part.start if mask is None else int(torch.count_nonzero(mask[part]))


def _groups(client: Client, scope: Scope) -> tuple[slice, ...]:
    return client.layout.slices if scope == "layer" else (slice(0, client.layout.num_parameters),)
