"""Gradient identification: which of many images was trained on, by the gradient that each would have given.

The cosine of a candidate's gradient with the pseudo-gradient, over the coordinates that the upload holds, in the
geometry of the mask recovered from the upload. It needs no search and no prior, and still separates defences where no
reconstruction rises above its floors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_attacks.candidates import candidate_gradients
from priprune_attacks.ranking import scores_of_each
from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import Fill, Target, pseudo_gradient
from priprune_plugins import LabelledSet, Observation, Progress, hookimpl


def gradient_cosines(observation: Observation, target: Target, candidates: LabelledSet) -> Tensor:
    """Return ``[N]``: the cosine of each candidate's gradient with the target over what the target compares.

    A candidate whose gradient is zero there scores 0. Several local steps count as one at the target's point, and the
    images of a batch one by one.

    Args:
        observation: Gives the architecture and the batch-norm statistics.
        target: The pseudo-gradient and the weights it is taken at.
        candidates: Images and labels.
    """
    layout = observation.facts.layout
    model = model_at(observation.facts, target.point, observation.broadcast_buffers)
    compared = torch.ones_like(target.gradient) if target.mask is None else target.mask.to(target.gradient)
    cosines = []
    for part in candidate_gradients(model, layout, candidates):
        dots = [own.weighted(target.gradient[layout.slices[own.layer]], torch.positive) for own in part]
        squares = [own.weighted(compared[layout.slices[own.layer]], torch.square) for own in part]
        dot, square = torch.stack(dots).sum(0), torch.stack(squares).sum(0)
        cosines.append(torch.where(square > 0, dot / square.sqrt(), 0.0))
    found: Tensor = torch.cat(cosines) / torch.linalg.vector_norm(target.gradient)
    return found


@dataclass(frozen=True, eq=False)
class GradientIdentification:
    """Ranks candidates by the cosine of their masked gradients with the upload.

    Args:
        fill: What an absent coordinate counts: unknown and left out (``broadcast``), or trained to 0 (``zeros``).
        oracle: Be granted the weights that the client really started from: an upper bound, not an attacker.
    """

    fill: Fill = "broadcast"
    oracle: bool = False

    @hookimpl
    def identify(
        self, observations: Sequence[Observation], candidates: Sequence[LabelledSet], progress: Progress
    ) -> list[Tensor]:
        """Return one score per candidate and observation; NaN where the upload tells no gradient."""
        return scores_of_each(observations, candidates, progress, self._scores)

    def _scores(self, observation: Observation, candidates: LabelledSet) -> Tensor:
        target = pseudo_gradient(observation, mask="recovered", fill=self.fill)
        if target.flaw is not None:
            return torch.full((len(candidates),), torch.nan)
        return gradient_cosines(observation, target, candidates)
