"""The weighted mean of weights of which some were not sent, filled while it is added up: each upload is read once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from priprune_plugins.masks import INTEGERS, choose_, num_kept, part_size

Mean = Callable[[Sequence[Tensor], Sequence[float]], Tensor]


@dataclass(frozen=True, eq=False)
class Term:
    """One upload in the sum.

    Args:
        vector: ``[D]``.
        share: Its share of the mean.
        present: ``[D]`` bool, True where it was sent; None = everywhere.
    """

    vector: Tensor
    share: float
    present: Tensor | None


def terms(vectors: Sequence[Tensor], shares: Sequence[float], present: Sequence[Tensor | None]) -> list[Term]:
    """Return what is added up, in order; the very same vector several times, a group's mean, is one term."""
    rows = zip(vectors, shares, present, strict=True)
    grouped = [list(same) for _, same in groupby(rows, key=lambda row: id(row[0]))]
    return [Term(same[0][0], sum(share for _, share, _ in same), same[0][2]) for same in grouped]


@dataclass(frozen=True, eq=False)
class FilledMean:
    """``sum(share_i * (vector_i where present_i, else fill))``, bit for bit that of vectors which are filled before.

    Args:
        present: Per vector ``[D]`` bool, or None.
        fill: ``[D]`` what an absent coordinate counts.
        unsent: ``[D]`` what stands where nobody sent the coordinate; None = the mean of what was filled in.
    """

    present: Sequence[Tensor | None]
    fill: Tensor
    unsent: Tensor | None

    def __call__(self, vectors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
        """Return the mean ``[D]``, added up in the order given, in one vector of memory."""
        summed = terms(vectors, shares, self.present)
        mean, length, size = torch.empty_like(self.fill), self.fill.numel(), part_size(self.fill)
        filled = mean.new_empty(min(size, length))
        # In parts on CPU: sum, fill and what is filled stay in a core's cache.
        for start in range(0, length, size):
            self._sum_(mean, slice(start, start + size), summed, filled)
        return mean

    def _sum_(self, mean: Tensor, part: slice, summed: Sequence[Term], filled: Tensor) -> None:
        total, fill = mean[part], self.fill[part]
        for index, term in enumerate(summed):
            vector = term.vector[part]
            if term.present is not None:
                vector = _chosen(vector, term.present[part], fill, filled[: vector.numel()])
            if index == 0:
                torch.mul(vector, term.share, out=total)
            else:
                total.add_(vector, alpha=term.share)
        sent = self._sent_by_anyone(summed, part)
        if self.unsent is not None and sent is not None:
            # A mean of equal values differs in the last bits, which would drift over thousands of rounds.
            choose_(total, sent, self.unsent[part])

    @staticmethod
    def _sent_by_anyone(summed: Sequence[Term], part: slice) -> Tensor | None:
        """Return ``[n]`` bool, or None where the answer is yes everywhere."""
        masks = [term.present[part] for term in summed if term.present is not None]
        if len(masks) < len(summed):
            return None
        sent = masks[0].clone()
        for mask in masks[1:]:
            sent.logical_or_(mask)
        return None if sent.device.type == "cpu" and num_kept(sent) == sent.numel() else sent


def _chosen(vector: Tensor, present: Tensor, fill: Tensor, out: Tensor) -> Tensor:
    """Return ``out``: ``vector`` where ``present`` is True and ``fill`` elsewhere, bit for bit."""
    integers = INTEGERS[vector.dtype]
    others = fill.view(integers)
    # Integers wrap: what is subtracted comes back exactly, whatever a coordinate that was not sent holds.
    torch.sub(vector.view(integers), others, out=out.view(integers)).mul_(present.view(torch.uint8)).add_(others)
    return out
