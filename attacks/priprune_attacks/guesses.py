"""The best restart of each observation, chosen by the attack's own loss."""

from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from priprune_attacks.optimise import Descended
from priprune_plugins import Observation, Reconstruction


@dataclass(eq=False)
class Guess:
    """What is known so far about one observation; the truth is not among it."""

    observation: Observation
    failed: str | None
    _match: float = field(default=inf, init=False)
    _best: tuple[Tensor, Tensor, Tensor] | None = field(default=None, init=False)

    def offer(self, descended: Descended, victim: int) -> None:
        """Take the victim's restart with the lowest loss without the prior, if it beats what is held."""
        match = descended.match[victim].where(descended.total[victim].isfinite(), inf)
        restart = int(match.argmin())
        if float(match[restart]) < self._match:
            self._match, self.failed = float(match[restart]), None
            row = (victim, restart)
            labels = descended.labels[row].argmax(-1)
            self._best = (descended.images[row].clone(), labels, descended.trace[:, victim, restart].clone())

    def fail(self, reason: str) -> None:
        """Note why there is no guess; one that was found before stands."""
        if self._best is None:
            self.failed = reason

    def reconstruction(self) -> Reconstruction:
        """Return the guess, or with ``failed`` the mean image, which is what a server knows without an attack."""
        if self._best is not None:
            images, labels, trace = self._best
            return Reconstruction(images, labels, self._match, trace)
        facts = self.observation.facts
        images = facts.mean_image.to(self.observation.broadcast).repeat(self.observation.num_images, 1, 1, 1)
        reason = self.failed or "no restart had a finite loss"
        return Reconstruction(images, None, inf, torch.empty(0, device=images.device), reason)
