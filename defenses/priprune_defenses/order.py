"""The k lowest of many numbers, faster than by a partial sort of all of them."""

import torch
from torch import Tensor

_SAMPLE = 2**15


def is_lowest(scores: Tensor, count: int) -> Tensor:
    """Return ``[N]`` bool: True for exactly the ``count`` lowest of ``scores [N]``, ties by position."""
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = kth_lowest(scores, count)
    chosen = scores < threshold
    ties = torch.nonzero(scores == threshold).squeeze(1)
    chosen[ties[: count - int(torch.count_nonzero(chosen))]] = True
    return chosen


def kth_lowest(scores: Tensor, count: int) -> Tensor:
    """Return the value of the ``count``-th lowest of ``scores [N]``, exactly, a 0-dim tensor.

    A sorted sample brackets the value, and only what lies in the bracket is sorted; where the sample misleads, all is.

    Args:
        scores: ``[N]``, no NaN.
        count: From 1 to ``N``.

    Reference: Floyd, Rivest, "Expected Time Bounds for Selection", Communications of the ACM 18(3), 1975.
    """
    low, high = _bracket(scores, count)
    below = int(torch.count_nonzero(scores < low))
    bracketed = (scores >= low) & (scores <= high)
    if not below < count <= below + int(torch.count_nonzero(bracketed)):
        return torch.kthvalue(scores, count).values
    return low if low == high else torch.kthvalue(scores[bracketed], count - below).values


def _bracket(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return two values that very likely enclose the ``count``-th lowest."""
    sample = scores[:: max(1, scores.numel() // _SAMPLE)].sort().values
    last = sample.numel() - 1
    rank = count / scores.numel() * last
    margin = 4 * sample.numel() ** 0.5  # at least eight standard deviations of a random sample's rank
    return sample[max(0, int(rank - margin))], sample[min(last, int(rank + margin) + 1)]
