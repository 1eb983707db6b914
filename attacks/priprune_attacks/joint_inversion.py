"""Joint inversion: the images of many participations of one client at once, from the sum of all that it sent.

Against a defence that holds updates back, one upload is a sum of batches that the server cannot tell apart. Over many
uploads nothing is lost, and the server knows every broadcast: the times of release cancel in the sum over uploads,
which is the sum of the batches' gradients, each at its own broadcast. No paper on pruning defences reports this
attacker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from priprune_attacks.adam import Adam
from priprune_attacks.guesses import Guess
from priprune_attacks.histories import History, Releases, history_of, summed
from priprune_attacks.optimise import Cooling, Descent, descend
from priprune_attacks.priors import total_variation
from priprune_attacks.starts import STARTS, StartName
from priprune_attacks.summed_gradients import Sums, batch_gradients, known_sums, plain_sum
from priprune_plugins import (
    Count,
    Factor,
    Index,
    NonNegative,
    Observation,
    Positive,
    Progress,
    Reconstruction,
    ScenarioError,
    hookimpl,
)
from priprune_plugins.generators import generator as stream


@dataclass(frozen=True, eq=False)
class JointInversion:
    """Searches the images of all participations in a window together and keeps those of the attacked one.

    Assumes that the window begins with the client's first participation (``audit.earlier`` makes it so) or that what
    was held before it is small, that several local steps count as one at the broadcast, and that every participation
    holds as many images as the attacked one. Without others around it, it is :class:`GI` with the known mask.

    Args:
        earlier: Participations before the attacked one that are used at most.
        later: Participations after it. A batch is fully sent only some participations later.
        releases: ``unknown``: one sum over all uploads. ``recovered``: the bytes tell what was sent (absent or
            unchanged is not), so that each number is the sum of known batches. ``detected``: sizes tell, where noise
            covers what was not sent.
        iterations: Loss evaluations.
        lr: Learning rate of signed Adam at the start.
        starts: Where restarts begin; each is run with each strength in ``tv``.
        tv: Strengths of the total variation prior at the end, the mean over participations.
        heat: How many times stronger the prior is at the start.
        labels: ``joint`` searches the labels of all batches; ``true`` is granted by the host for all of them.
    """

    earlier: Index = 12
    later: Index = 12
    releases: Releases = "unknown"
    iterations: Count = 300
    lr: Positive = 0.1
    starts: tuple[StartName, ...] = ("mean",)
    tv: tuple[NonNegative, ...] = (1e-2,)
    heat: Factor = 300.0
    labels: Literal["joint", "true"] = "joint"

    def __post_init__(self) -> None:
        if not self.starts or not self.tv:
            raise ScenarioError(f"attack {type(self).__name__.lower()}: starts and tv must hold at least one value")

    def sums(self, history: History) -> Sums:
        """Return the numbers that are matched."""
        if self.releases == "unknown":
            return plain_sum(history, summed(history))
        return known_sums(history, history.sent)

    @hookimpl
    def reconstruct(
        self, observations: Sequence[Observation], generator: torch.Generator, progress: Progress
    ) -> list[Reconstruction]:
        """Return one reconstruction per observation, in order."""
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        found = []
        for index, observation in enumerate(observations):
            history = history_of(observation, self.earlier, self.later, self.releases)
            report = partial(_report, progress, index, len(observations), self.iterations)
            found.append(self._searched(history, self.sums(history), seed, report))
        progress(1.0)
        return found

    def _searched(
        self, history: History, sums: Sums, seed: int, report: Callable[[int, Tensor], None]
    ) -> Reconstruction:
        seen = history.observations[history.attacked]
        guess = Guess(seen, _flaw(sums))
        if guess.failed is None:
            rule = Descent(self.iterations, self.lr, optimiser=partial(Adam, sign=True), heat=Cooling(self.heat))
            images, labels = self._begin(history, sums, seed)
            found = descend(self._loss(history, sums, images), images, labels, rule, report)
            count, place = seen.num_images, sums.participations.index(history.attacked)
            part = slice(place * count, (place + 1) * count)
            guess.offer(replace(found, images=found.images[:, :, part], labels=found.labels[:, :, part]), 0)
        compared = float(sums.compared.sum() / max(1, int(history.mask.count_nonzero())))
        notes = {"participations": float(len(sums.participations)), "numbers_a_coordinate": compared}
        return replace(guess.reconstruction(), notes=notes)

    def _begin(self, history: History, sums: Sums, seed: int) -> tuple[Tensor, Tensor]:
        """Return starts ``[1, R, P * B, C, H, W]`` and labels ``[1, R, P * B, K]``, logits where they are searched."""
        seen = history.observations[history.attacked]
        count, like = len(sums.participations) * seen.num_images, seen.broadcast
        starts = [
            STARTS[name](seen.facts, count, stream(seed, "start", name, seen.round_idx, *seen.client_ids)).to(like)
            for name in self.starts
            for _ in self.tv
        ]
        labels = like.new_zeros(count, seen.facts.num_classes)
        if self.labels == "true":
            known = torch.cat([_granted(history.observations[k]) for k in sums.participations])
            labels = functional.one_hot(known, seen.facts.num_classes).to(like)
        return torch.stack(starts).unsqueeze(0), labels.expand(1, len(starts), -1, -1)

    def _loss(self, history: History, sums: Sums, like: Tensor) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        gradients, parts = batch_gradients(history, sums), len(sums.participations)
        strengths = like.new_tensor([strength for _ in self.starts for strength in self.tv])

        def mismatch(images: Tensor, labels: Tensor) -> Tensor:
            # Known labels must not move: a descent moves whatever its loss depends on.
            probabilities = labels.detach() if self.labels == "true" else labels.softmax(-1)
            dealt = [rows.view(parts, -1, *rows.shape[1:]) for rows in (images, probabilities)]
            return sums.mismatch(gradients(*dealt))

        def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            rows = zip(images[0], labels[0], strict=True)
            match = torch.stack([mismatch(*row) for row in rows]).unsqueeze(0)
            return match + strengths * total_variation(images) / parts, match

        return loss


def _granted(observation: Observation) -> Tensor:
    if observation.labels is None:
        raise ScenarioError("labels: true needs the true labels, which only the host grants; use labels: joint")
    return observation.labels


def _flaw(sums: Sums) -> str | None:
    if not bool(torch.isfinite(sums.received).all() & torch.isfinite(sums.points).all()):
        return "the uploads or the weights hold a number that is not finite"
    return None if bool(sums.received.any()) else "nothing was sent that the attack can use"


def _report(progress: Progress, index: int, count: int, iterations: int, iteration: int, losses: Tensor) -> None:
    if iteration % 25 == 0:
        progress((index + iteration / iterations) / count, float(losses.min()))
