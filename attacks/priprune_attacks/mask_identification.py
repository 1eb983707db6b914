"""Mask identification: which of many images was trained on, by what the client chose to withhold and nothing else.

A defence that withholds by size tells with its mask where the gradient is large. No value of the upload is used but
whether it is there, so a defence that hides every number and keeps its choice visible is still broken.

Source: measured for this project; no paper on pruning defences reports it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from priprune_attacks.candidates import LayerGradients, candidate_gradients
from priprune_attacks.ranking import scores_of_each
from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import absent
from priprune_plugins import LabelledSet, Layout, Observation, Progress, hookimpl

Pattern = Literal["withheld", "unchanged"]


def pattern_of(observation: Observation, pattern: Pattern) -> tuple[Tensor, Tensor]:
    """Return where a large gradient is suspected and where the pattern can be seen at all, ``[D]`` bool each.

    A coordinate whose broadcast is 0 tells nothing: pruned, withheld and unchanged look the same there.

    Args:
        observation: What the server holds.
        pattern: ``withheld``: the client withheld the coordinate. ``unchanged``: it sent another value than it got, the
            opposite of a zero gradient.
    """
    seen = observation.broadcast != 0
    if observation.mask is not None:
        seen = seen & observation.mask
    if pattern == "withheld":
        return absent(observation) & seen, seen
    seen = seen & ~absent(observation)
    return (observation.upload != observation.broadcast) & seen, seen


def nonzero(gradients: Tensor) -> Tensor:
    """Return 1 where a gradient is not zero, else 0; behind a dead ReLU it is."""
    return (gradients != 0).to(gradients)


def pattern_correlations(
    gradients: Sequence[LayerGradients],
    suspected: Tensor,
    seen: Tensor,
    layout: Layout,
    magnitude: Callable[[Tensor], Tensor] = torch.abs,
) -> Tensor:
    """Return ``[N]``: Pearson's correlation of ``|g|`` with the pattern within each layer, mean weighted by its size.

    Within layers, because the sizes of gradients differ between them whatever the image. A layer that is wholly
    withheld or wholly sent says nothing and is left out; a candidate without a gradient in a layer gets 0 there.

    Args:
        gradients: Of all layers.
        suspected: ``[D]`` bool, where a large gradient is suspected.
        seen: ``[D]`` bool, where the pattern can be seen at all.
        layout: The model's layout.
        magnitude: What is correlated with the pattern; multiplicative.
    """

    def squared(factor: Tensor) -> Tensor:
        return magnitude(factor).square()

    dtype = gradients[0].dtype
    total, weight = torch.zeros((), dtype=dtype, device=seen.device), 0
    for own in gradients:
        part = layout.slices[own.layer]
        count, marked = int(seen[part].count_nonzero()), int(suspected[part].count_nonzero())
        if not 0 < marked < count:
            continue
        share, here = marked / count, seen[part].to(dtype)
        mean, mean_square = own.weighted(here, magnitude) / count, own.weighted(here, squared) / count
        covariance = own.weighted(suspected[part].to(dtype), magnitude) / count - share * mean
        variance = (mean_square - mean.square()).clamp_min(0.0) * share * (1.0 - share)
        total = total + count * torch.where(variance > 0, covariance / variance.sqrt(), 0.0)
        weight += count
    return total / weight


@dataclass(frozen=True, eq=False)
class MaskIdentification:
    """Ranks candidates by how well the sizes of their gradients explain what was withheld.

    Its positive control is an upload without the largest of its update: a bare one withholds nothing.

    Args:
        pattern: ``withheld``, or for defences that hide what they withhold ``unchanged``: what differs from the
            broadcast, which shows zero gradients and uses one bit of the values that were sent.
        oracle: Be granted the weights that the client really started from: an upper bound, not an attacker.
    """

    pattern: Pattern = "withheld"
    oracle: bool = False

    @property
    def control(self) -> str:
        """The positive control that the host makes: one that has the pattern."""
        return "largest" if self.pattern == "withheld" else "bare"

    @hookimpl
    def identify(
        self, observations: Sequence[Observation], candidates: Sequence[LabelledSet], progress: Progress
    ) -> list[Tensor]:
        """Return one score per candidate and observation; NaN where no layer shows a pattern."""
        return scores_of_each(observations, candidates, progress, self._scores)

    def _scores(self, observation: Observation, candidates: LabelledSet) -> Tensor:
        layout = observation.facts.layout
        model = model_at(observation.facts, observation.broadcast, observation.broadcast_buffers)
        suspected, seen = pattern_of(observation, self.pattern)
        pairs = zip(layout.layers(suspected), layout.layers(seen), strict=True)
        if not any(0 < int(s.count_nonzero()) < int(k.count_nonzero()) for s, k in pairs):
            return torch.full((len(candidates),), torch.nan)
        parts = candidate_gradients(model, layout, candidates)
        magnitude = torch.abs if self.pattern == "withheld" else nonzero
        return torch.cat([pattern_correlations(part, suspected, seen, layout, magnitude) for part in parts])
