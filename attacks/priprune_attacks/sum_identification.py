"""Sum identification: which of many images was trained on, from what a client sent in that participation and after.

A defence that sends sums later loses nothing: over some uploads, all of an attacked batch's gradient arrives.
Candidates are ranked by the cosine of their gradient, at the broadcast of that participation, with the numbers that
hold it. No paper on pruning defences reports this attacker.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_attacks.gradient_identification import gradient_cosines
from priprune_attacks.histories import History, Releases, history_of, summed
from priprune_attacks.ranking import scores_of_each
from priprune_attacks.targets import Target
from priprune_plugins import Index, LabelledSet, Observation, Progress, hookimpl


@dataclass(frozen=True, eq=False)
class SumIdentification:
    """Ranks candidates by the cosine of their gradients with the sum of a client's uploads.

    Assumes that several local steps count as one at the broadcast. Without others around the attacked upload it is
    ``gradient_identification``.

    Args:
        earlier: Participations before the attacked one that are used at most, to tell what was sent.
        later: Participations from the attacked one on that are summed, beside it.
        releases: ``unknown``: the sum of all of these uploads. ``recovered``: of each coordinate only the first number
            that was sent, from the bytes, which holds the batch and fewest others. ``detected``: the same by size,
            where noise covers what was not sent.
        repeated: Assume the same batch in every participation, as a client of few images has it: the evidence of all
            participations is added up.
    """

    earlier: Index = 12
    later: Index = 12
    releases: Releases = "unknown"
    repeated: bool = False

    @hookimpl
    def identify(
        self, observations: Sequence[Observation], candidates: Sequence[LabelledSet], progress: Progress
    ) -> list[Tensor]:
        """Return one score per candidate and observation; NaN where nothing was sent."""
        return scores_of_each(observations, candidates, progress, self._scores)

    def _scores(self, observation: Observation, candidates: LabelledSet) -> Tensor:
        history = history_of(observation, self.earlier, self.later, self.releases)
        chosen = range(len(history)) if self.repeated else [history.attacked]
        targets = [self._target(history, index) for index in chosen]
        found = [
            gradient_cosines(history.observations[index], target, candidates)
            for index, target in zip(chosen, targets, strict=True)
            if target.flaw is None
        ]
        return torch.stack(found).mean(0) if found else torch.full((len(candidates),), torch.nan)

    def _target(self, history: History, index: int) -> Target:
        """Return the numbers that hold the gradient of one participation, to be compared with it."""
        if self.releases == "unknown":
            return Target(history.points[index], summed(history, index), history.mask)
        numbers, there = history.first_number(index)
        return Target(history.points[index], numbers * there, there)
