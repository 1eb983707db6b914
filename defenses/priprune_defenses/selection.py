"""Which coordinates a fixed-rate defence withholds: an exact number of those that the base mask keeps."""

from typing import Literal

import torch
from torch import Tensor

from priprune_defenses.bernoulli import below, equal, random_bytes
from priprune_plugins import Client, Upload
from priprune_plugins.masks import num_kept, num_pruned, positions, without_lowest

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
        scores: ``[D]``, no NaN; the lowest go first, ties by position.
        client: Whose base mask and layout are meant.
        free: ``[D]`` bool: what may be withheld; None = everything.
        rate: Fraction of the kept coordinates withheld, in [0, 1).
        scope: One count over all layers, or one in each layer.

    Returns:
        ``[D]`` bool, True = withheld: ``round(rate * kept)`` coordinates of the model or of each layer, or all free
        ones where fewer are left.
    """
    chosen = []
    for part in _groups(client, scope):
        candidates = torch.ones_like(scores[part], dtype=torch.bool) if free is None else free[part]
        count = min(num_pruned(rate, _count(client.mask, part)), num_kept(candidates))
        chosen.append(without_lowest(scores[part], candidates, count).logical_not_())
    return chosen[0] if len(chosen) == 1 else torch.cat(chosen)


def withheld_at_random(
    client: Client, free: Tensor | None, rate: float, scope: Scope, stream: torch.Generator
) -> Tensor:
    """Return a uniformly drawn mask of as many coordinates as :func:`withheld_lowest` withholds.

    Args:
        client: Whose base mask and layout are meant.
        free: ``[D]`` bool: what may be withheld; None = everything.
        rate: Fraction of the kept coordinates withheld, in [0, 1).
        scope: One count over all layers, or one in each layer.
        stream: CPU generator.
    """
    chosen = []
    for part in _groups(client, scope):
        candidates = None if free is None else free[part].cpu()
        size = part.stop - part.start
        count = min(num_pruned(rate, _count(client.mask, part)), size if candidates is None else num_kept(candidates))
        chosen.append(random_subset(size, candidates, count, stream))
    return torch.cat(chosen).to(client.weights.device)


def random_subset(size: int, candidates: Tensor | None, count: int, stream: torch.Generator) -> Tensor:
    """Return ``[size]`` bool with ``count`` of the ``candidates`` True, every such subset equally likely.

    Each coordinate draws a byte; those with the lowest bytes are chosen, and among those that share the last byte a
    random few: an eighth of the random bits, and of the time, of a uniform number each.
    """
    draws = random_bytes(size, stream)
    total = size if candidates is None else num_kept(candidates)
    # The level by expectation; what the draws differ from it is a step or two.
    level = min(255, count * 256 // max(total, 1))
    chosen = _among(below(draws, level), candidates)
    while num_kept(chosen) > count:
        level -= 1
        chosen = _among(below(draws, level), candidates)
    tied = _among(equal(draws, level), candidates)
    while level < 255 and num_kept(chosen) + num_kept(tied) < count:
        chosen, level = chosen | tied, level + 1
        tied = _among(equal(draws, level), candidates)
    ties = positions(tied)
    chosen[ties[torch.randperm(ties.numel(), generator=stream)[: count - num_kept(chosen)]]] = True
    return chosen


def _among(flags: Tensor, candidates: Tensor | None) -> Tensor:
    return flags if candidates is None else flags & candidates


def _count(mask: Tensor | None, part: slice) -> int:
    return part.stop - part.start if mask is None else num_kept(mask[part])


def _groups(client: Client, scope: Scope) -> tuple[slice, ...]:
    return client.layout.slices if scope == "layer" else (slice(0, client.layout.num_parameters),)
