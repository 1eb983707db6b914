"""One client's participations as its server saw them, and which batches each number that it received stands for.

A defence may hold updates back and send their sum later. Each batch's gradient at a coordinate is then in the first
number of that coordinate that is sent at its participation or after.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from priprune_attacks.targets import absent, pseudo_gradient
from priprune_plugins import Layout, Observation

Releases = Literal["recovered", "detected", "unknown"]
# A normal deviation is this times the median of absolute values; the study behind `release` keeps what exceeds 2.5.
_DEVIATION_OF_MEDIAN = 1.4826
_DETECTED_FROM = 2.5


@dataclass(frozen=True, eq=False)
class History:
    """K participations of one client, oldest first.

    Args:
        observations: What the server holds of each.
        attacked: Position of the one whose images are wanted.
        points: ``[K, D]`` the broadcasts, at which gradients were taken.
        told: ``[K, D]`` pseudo-gradients, 0 where nothing is taken for sent.
        sent: ``[K, D]`` bool, what is taken for sent.
        kept: ``[K, D]`` bool, the base mask of each.
    """

    observations: tuple[Observation, ...]
    attacked: int
    points: Tensor
    told: Tensor
    sent: Tensor
    kept: Tensor

    def __len__(self) -> int:
        return len(self.observations)

    @property
    def mask(self) -> Tensor:
        """``[D]`` bool, what the base mask of the attacked participation keeps."""
        return self.kept[self.attacked]

    @cached_property
    def number_of(self) -> Tensor:
        """``[K, D]`` int64: the participation that sent each batch's gradient, ``K`` where none has yet."""
        count = len(self)
        found, following = [], torch.full_like(self.sent[0], count, dtype=torch.int64)
        for index in reversed(range(count)):
            following = torch.where(self.sent[index], index, following)
            found.append(following)
        return torch.stack(found[::-1])

    @cached_property
    def batches(self) -> Tensor:
        """``[K, D]`` float: how many of these participations' batches each number is the sum of, 0 where none is."""
        counts = self.told.new_zeros(len(self) + 1, self.told.shape[1])
        return counts.scatter_add(0, self.number_of, torch.ones_like(self.told))[:-1]

    def first_number(self, index: int) -> tuple[Tensor, Tensor]:
        """Return ``[D]`` the first numbers sent at participation ``index`` or after, and ``[D]`` bool where any was."""
        sender = self.number_of[index]
        there = sender < len(self)
        return self.told.gather(0, sender.clamp_max(len(self) - 1).unsqueeze(0))[0] * there, there & self.mask


def history_of(observation: Observation, earlier: int, later: int, releases: Releases) -> History:
    """Return the participation behind ``observation`` among those of the same client around it.

    Several local steps count as one at the broadcast.

    Args:
        observation: The attacked one.
        earlier: Participations before it at most; of those left out, sums may hold batches that are not modelled.
        later: Participations after it at most.
        releases: How it is told what was sent. ``recovered``: from the bytes; absent is not, or
            where nothing is absent unchanged is not. ``detected``:
            from sizes, where noise covers what was not sent; a coordinate counts from 2.5 deviations of its layer on.
            ``unknown``: not at all, everything counts.
    """
    before = [*observation.earlier][max(0, len(observation.earlier) - earlier) :]
    seen = (*before, observation, *observation.later[:later])
    told = torch.stack([_told(one) for one in seen])
    sent = torch.ones_like(told, dtype=torch.bool)
    if releases != "unknown":
        sent = torch.stack([_sent(one) for one in seen])
    if releases == "detected":
        sent = sent & torch.stack([_loud(row, observation.facts.layout) for row in told])
    kept = torch.stack(
        [torch.ones_like(row) if one.mask is None else one.mask for one, row in zip(seen, sent, strict=True)]
    )
    points = torch.stack([one.broadcast for one in seen])
    return History(seen, len(before), points, told * sent, sent & kept, kept)


def _told(observation: Observation) -> Tensor:
    return pseudo_gradient(observation, mask="known", unroll=False).gradient


def _sent(observation: Observation) -> Tensor:
    # Where anything is absent, what is there was sent, a zero update too; otherwise a defence hides what it withholds.
    return observation.upload != (0.0 if bool(absent(observation).any()) else observation.broadcast)


def _loud(told: Tensor, layout: Layout) -> Tensor:
    floors = [_DEVIATION_OF_MEDIAN * _median(part[part != 0]) for part in layout.layers(told)]
    return told.abs() > _DETECTED_FROM * layout.spread(torch.stack(floors))


def _median(values: Tensor) -> Tensor:
    return values.abs().median() if values.numel() else values.new_zeros(())


def summed(history: History, start: int = 0) -> Tensor:
    """Return ``[D]``: all that was told from participation ``start`` on, in which the times of release cancel."""
    return history.told[start:].sum(0) * history.mask
