"""ROG: search a picture of low resolution, enlarge it, and sharpen it with a network trained on public images.

Reference: Yue, Jin, Wong, Baron, Dai, "Gradient Obfuscation Gives a False Sense of Security in Federated Learning",
USENIX Security 2023, arXiv:2206.04055, section 4.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch

from priprune_attacks.labels import LabelName, label_rule
from priprune_attacks.latent import Bicubic, Latent
from priprune_attacks.matching import match
from priprune_attacks.objectives import cosine, l2
from priprune_attacks.optimise import Descent
from priprune_attacks.post_processing import trained_sharpener
from priprune_attacks.recipe import Recipe, not_empty, restarts
from priprune_attacks.starts import StartName
from priprune_attacks.targets import Fill, MaskRule, pseudo_gradient
from priprune_plugins import (
    Count,
    Facts,
    Index,
    LabelledSet,
    NonNegative,
    Observation,
    Positive,
    Progress,
    Reconstruction,
    hookimpl,
)

_log = logging.getLogger(__name__)
_LARGE = 64


@dataclass(frozen=True, eq=False)
class ROG:
    """Reconstruction from obfuscated gradients: few unknowns make up for the gradient entries that are not there.

    The sharpening network sees images of the server's public set only (``data.public`` of the scenario). Without one
    this step is left out, which the log says. The reported loss is that of the enlarged picture before sharpening.

    Departures: the network is a residual one of four convolutions that undoes bicubic enlargement and noise, where the
    paper takes a generative network and a denoiser trained on a large data set: a public set of a few hundred images
    of 28 pixels trains neither. The scale is 2 below 64 pixels, where a quarter of 28 would leave 7. Restarts
    and total variation are ours; labels are counted, where the paper has them given.

    Args:
        iterations: Loss evaluations per restart.
        lr: Adam's learning rate at the start, with cosine decay.
        scale: Factor between the sides of image and latent; 0 = 2 for images below 64 pixels, 4 for others.
        starts: Where restarts begin.
        draws: Random draws of each start.
        objective: Distance to the target.
        tv: Strengths of total variation; each is run with each start.
        steps: Training steps of the sharpening network, 32 public images each; 0 leaves it out.
        labels: As in :class:`~priprune_attacks.gi.GI`.
        mask: Coordinates that are compared.
        fill: What an absent coordinate counts.
        max_gib: Memory that one batch of victims and restarts may take.
    """

    iterations: Count = 300
    lr: Positive = 0.1
    scale: Index = 0
    starts: tuple[StartName, ...] = ("mean", "uniform")
    draws: Count = 1
    objective: Literal["cosine", "l2"] = "cosine"
    tv: tuple[NonNegative, ...] = (1e-4, 1e-2)
    steps: Index = 300
    labels: LabelName = "count"
    mask: MaskRule = "recovered"
    fill: Fill = "broadcast"
    max_gib: Positive = 2.0

    def __post_init__(self) -> None:
        not_empty(self, "starts", "tv")

    def recipe(self) -> Recipe:
        """Return the attack that the options describe, without the sharpening."""
        return Recipe(
            target=partial(pseudo_gradient, mask=self.mask, fill=self.fill),
            restarts=restarts(self.starts, self.tv, self.draws),
            objective=cosine if self.objective == "cosine" else l2,
            labels=label_rule(self.labels),
            latent=self.latent,
            descent=Descent(self.iterations, self.lr),
            max_gib=self.max_gib,
        )

    def latent(self, facts: Facts) -> Latent:
        """Return the space that is searched for images of these facts."""
        _, height, width = facts.image_shape
        automatic = 4 if min(height, width) >= _LARGE else 2
        return Bicubic(self.scale or automatic, (height, width))

    @hookimpl
    def reconstruct(
        self, observations: Sequence[Observation], generator: torch.Generator, progress: Progress
    ) -> list[Reconstruction]:
        """Return one reconstruction per observation, in order."""
        guesses = match(observations, self.recipe(), generator, progress)
        if not observations or not self.steps:
            return guesses
        # One run has one public set: every observation of a call holds the same.
        public, facts = observations[0].public, observations[0].facts
        if public is None:
            _log.info("rog: no public images (data.public), so reconstructions are not sharpened")
            return guesses
        return self._sharpened(guesses, public, facts, generator)

    def _sharpened(
        self, guesses: list[Reconstruction], public: LabelledSet, facts: Facts, generator: torch.Generator
    ) -> list[Reconstruction]:
        latent = self.latent(facts)
        sharpen = trained_sharpener(
            public.images, lambda images: latent.decode(latent.encode(images)), self.steps, generator
        )
        return [replace(guess, images=sharpen(guess.images)) if guess.failed is None else guess for guess in guesses]
