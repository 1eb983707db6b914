"""Masks over the flat vector: bool, True = kept."""

import numpy as np
import torch
from torch import Tensor

from priprune_plugins.order_statistic import kth_lowest_value

_NUMPY = (torch.float32, torch.float64)  # what numpy can order
PART = 2**17  # numbers whose temporaries stay in a core's cache and need no new memory


def part_size(values: Tensor) -> int:
    """Return how many numbers of a row of ``values [..., D]`` are worked on at once: ``PART`` on CPU, all on a GPU.

    On a GPU each part would be a launch of its own, which takes longer than the work.
    """
    return PART if values.device.type == "cpu" else max(values.shape[-1], 1)


def num_pruned(rate: float, count: int) -> int:
    """Return how many of ``count`` weights a rate removes: ``round(rate * count)``, halves to even."""
    return round(rate * count)


def num_kept(mask: Tensor) -> int:
    """Return how many entries of a bool ``mask`` are True; numpy counts them several times faster on CPU."""
    return int(np.count_nonzero(mask.numpy())) if mask.device.type == "cpu" else int(mask.count_nonzero())


def above(values: Tensor, threshold: Tensor | float, out: Tensor | None = None) -> Tensor:
    """Return bool, True where ``values`` exceeds a number, in ``out`` if given; numpy is faster at it on CPU."""
    flags = torch.empty_like(values, dtype=torch.bool) if out is None else out
    if values.device.type != "cpu" or values.dtype not in _NUMPY:
        return torch.gt(values, threshold, out=flags)
    np.greater(values.numpy(), float(threshold), out=flags.numpy())
    return flags


def positions(mask: Tensor) -> Tensor:
    """Return the indices ``[n]`` where a bool ``mask [D]`` is True, in order."""
    if mask.device.type != "cpu":
        return mask.nonzero().squeeze(1)
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def _end_of(mask: Tensor, count: int) -> int:
    """Return the index behind the ``count``-th True of ``mask``, from 1; searched part by part."""
    for start in range(0, mask.numel(), PART):
        part = mask[start : start + PART]
        here = num_kept(part)
        if count <= here:
            return start + int(positions(part)[count - 1]) + 1 if count else start
        count -= here
    return mask.numel()


def selected(values: Tensor, mask: Tensor) -> Tensor:
    """Return ``[n]`` the values where a bool ``mask [D]`` is True, in order; faster than ``values[mask]``."""
    return values.index_select(0, positions(mask))


def put_(values: Tensor, mask: Tensor, these: Tensor) -> Tensor:
    """Set ``values [D]`` to ``these [n]`` in order where a bool ``mask`` is True, in place, and return it."""
    return values.index_copy_(0, positions(mask), these)


def kth_lowest(scores: Tensor, count: int) -> Tensor:
    """Return the ``count``-th lowest (from 1) of ``scores [N]``, a scalar tensor; NaN is not allowed.

    On CPU by numpy, which finds it ten times faster than torch where the processor has wide registers.
    """
    if scores.device.type != "cpu" or scores.dtype not in _NUMPY:
        return torch.kthvalue(scores, count).values
    return scores.new_tensor(kth_lowest_value(scores.numpy(), count))


def without_lowest(scores: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Return the mask without the ``count`` lowest-scored candidates, ties by position.

    Args:
        scores: ``[D]`` floating point; only the candidates' count, and none of those may be NaN.
        candidates: ``[D]`` bool: which coordinates may go; all others are kept.
        count: How many go, at most as many as there are candidates.

    Returns:
        ``[D]`` bool, True = kept.
    """
    if count <= 0:
        return torch.ones_like(candidates)
    ranked = _infinite_where_not(candidates, scores)
    threshold = kth_lowest(ranked, count)
    kept = above(ranked, threshold)
    if ranked.numel() - num_kept(kept) == count:
        return kept
    ties = _equal(ranked, threshold)
    below = ranked.numel() - num_kept(kept) - num_kept(ties)
    # At an infinite threshold the ties hold coordinates that are no candidates.
    if bool(torch.isposinf(threshold)):
        kept |= ~candidates
        ties &= candidates
    first = _end_of(ties, count - below)
    kept[first:] |= ties[first:]
    return kept


def keep_highest(scores: Tensor, candidates: Tensor, rate: float) -> Tensor:
    """Return the mask that keeps the highest scores: ``round(rate * N)`` of the ``N`` candidates go.

    Args:
        scores: ``[D]``; NaN is refused.
        candidates: ``[D]`` bool: which coordinates may be removed; all others are kept.
        rate: Fraction of the candidates removed, in [0, 1].

    Returns:
        ``[D]`` bool, True = kept; exactly ``round(rate * N)`` entries are False, ties by (layer, flat index).

    Raises:
        ValueError: A score is NaN.
    """
    if torch.isnan(scores).any():
        raise ValueError("a score is NaN: no order to select by")
    return without_lowest(scores, candidates, num_pruned(rate, num_kept(candidates)))


INTEGERS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}


def _equal(values: Tensor, number: Tensor) -> Tensor:
    if values.device.type != "cpu" or values.dtype not in _NUMPY:
        return values == number
    return torch.from_numpy(values.numpy() == float(number))


def _infinite_where_not(candidates: Tensor, scores: Tensor) -> Tensor:
    """Return ``scores``, +infinity where ``candidates`` is False; a masked fill takes five times as long on CPU."""
    if scores.dtype not in INTEGERS:
        return scores.masked_fill(~candidates, torch.inf)
    infinity = int(torch.tensor(torch.inf, dtype=scores.dtype).view(INTEGERS[scores.dtype]))
    ranked = apply_(scores.clone(), candidates)
    integers = ranked.view(INTEGERS[scores.dtype])
    size = part_size(integers)
    for part, flags in zip(torch.split(integers, size), torch.split(candidates, size), strict=True):
        part.add_(flags.logical_not().view(torch.uint8), alpha=infinity)
    return ranked


def intersection(mask: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Return ``[D]`` bool, True where both masks keep; None keeps everything: the very other mask comes back then."""
    if mask is None or other is None:
        return other if mask is None else mask
    return mask & other


def density(mask: Tensor | None, prunable: Tensor) -> float:
    """Return kept / prunable, in [0, 1]; 1.0 without a mask or where nothing is prunable."""
    total = int(prunable.count_nonzero())
    if mask is None or total == 0:
        return 1.0
    return int((mask & prunable).count_nonzero()) / total


def apply_(weights: Tensor, mask: Tensor | None) -> Tensor:
    """Set the pruned coordinates of contiguous ``weights [..., D]`` to exactly +0, in place, and return it.

    A product would leave -0 where a negative weight stood, and NaN where an infinite one did; that of the bits, read as
    integers, does not, and takes a tenth of the time of a masked fill on CPU.
    """
    if mask is None:
        return weights
    if weights.dtype not in INTEGERS:
        return weights.masked_fill_(~mask, 0)
    integers = weights.view(INTEGERS[weights.dtype])
    size = part_size(integers)
    for part, flags in zip(torch.split(integers, size, -1), torch.split(mask.view(torch.uint8), size), strict=True):
        part.mul_(flags)
    return weights


def applied(weights: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``weights`` with its pruned coordinates exactly +0; the same tensor where ``mask`` is None."""
    return weights if mask is None else apply_(weights.clone(memory_format=torch.contiguous_format), mask)


def same_bits(left: Tensor, right: Tensor) -> bool:
    """Return whether two contiguous vectors ``[D]`` of one dtype hold the same bits; ends where they first differ."""
    if left.device.type != "cpu" or left.dtype not in INTEGERS:
        return torch.equal(left, right)
    integers = INTEGERS[left.dtype]
    pairs = zip(torch.split(left.view(integers), PART), torch.split(right.view(integers), PART), strict=True)
    return all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)


def chosen(mask: Tensor, kept: Tensor, other: Tensor) -> Tensor:
    """Return ``kept`` where ``mask [D]`` is True and ``other`` elsewhere, bit for bit; all contiguous, of one dtype."""
    return choose_(kept.clone(), mask, other)


def choose_(kept: Tensor, mask: Tensor, other: Tensor) -> Tensor:
    """Set contiguous ``kept [D]`` to ``other`` where ``mask`` is False, in place and bit for bit, and return it."""
    vectors = (kept.view(INTEGERS[kept.dtype]), other.view(INTEGERS[kept.dtype]), mask.view(torch.uint8))
    for part, others, flags in zip(*(torch.split(vector, part_size(kept)) for vector in vectors), strict=True):
        part.sub_(others).mul_(flags).add_(others)  # integers wrap: what is subtracted comes back exactly
    return kept
