"""Joint inversion: the images of many participations of one client at once, from the sum of all that it sent.

Against a defence that holds updates back, one upload is a sum of batches that the server cannot tell apart. Over many
uploads nothing is lost, and the server knows every broadcast: the times of release cancel in the sum over uploads,
which is the sum of the batches' gradients, each at its own broadcast. No paper on pruning defences reports this
attacker.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from priprune_attacks.adam import Adam
from priprune_attacks.guesses import Guess
from priprune_attacks.histories import History, Releases, history_of, summed
from priprune_attacks.objectives import cosine
from priprune_attacks.optimise import Cooling, Descended, Descent, Report, descend
from priprune_attacks.priors import total_variation
from priprune_attacks.recipe import not_empty
from priprune_attacks.settling import probabilities, settled
from priprune_attacks.starts import STARTS, StartName
from priprune_attacks.summed_gradients import Sums, comparison, known_sums, plain_sum
from priprune_attacks.window_labels import WindowLabels, window_labels
from priprune_plugins import (
    Count,
    Factor,
    Index,
    NonNegative,
    Observation,
    Positive,
    Progress,
    Reconstruction,
    hookimpl,
)
from priprune_plugins.generators import generator as stream


@dataclass(frozen=True, eq=False)
class JointInversion:
    """Searches the images of all participations in a window together and keeps those of the attacked one.

    Known labels move during the search and the contrast is fitted at the end, as :class:`GI` does it.

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
        labels: ``count`` solves for them on the last layer where the window is one upload, and searches those of all
            batches elsewhere; ``joint`` always searches; ``true`` is granted by the host for all of them.
        relax: Let the search move known labels too, see :class:`priprune_attacks.recipe.Recipe`.
        contrast: Fit gain and offset of each image found to the size of what was received.
    """

    earlier: Index = 12
    later: Index = 12
    releases: Releases = "unknown"
    iterations: Count = 300
    lr: Positive = 0.1
    starts: tuple[StartName, ...] = ("mean",)
    tv: tuple[NonNegative, ...] = (3e-3, 1e-2)
    heat: Factor = 300.0
    labels: WindowLabels = "count"
    relax: bool = True
    contrast: bool = True

    def __post_init__(self) -> None:
        not_empty(self, "starts", "tv")

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

    def _searched(self, history: History, sums: Sums, seed: int, report: Report) -> Reconstruction:
        seen = history.observations[history.attacked]
        guess = Guess(seen, _flaw(sums))
        if guess.failed is None:
            found = self._found(history, sums, seed, report)
            count, place = seen.num_images, sums.participations.index(history.attacked)
            part = slice(place * count, (place + 1) * count)
            guess.offer(replace(found, images=found.images[:, :, part], labels=found.labels[:, :, part]), 0)
        compared = float(sums.compared.sum() / max(1, int(history.mask.count_nonzero())))
        notes = {"participations": float(len(sums.participations)), "numbers_a_coordinate": compared}
        return replace(guess.reconstruction(), notes=notes)

    def _found(self, history: History, sums: Sums, seed: int, report: Report) -> Descended:
        """Return images ``[1, R, P * B, C, H, W]`` of all participations that are modelled, and their labels."""
        starts = self._starts(history, sums, seed)
        known = window_labels(history, sums.participations, self.labels, seed)
        labels = _as_numbers(known, starts, history.observations[history.attacked].facts.num_classes)
        compare, free = comparison(history, sums), torch.tensor(known is None, device=starts.device)
        strengths = starts.new_tensor([strength for _ in self.starts for strength in self.tv])

        def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            mismatch = cosine(compare(images, probabilities(labels, free, self.relax)))
            return mismatch + strengths * total_variation(images) / len(sums.participations), mismatch

        rule = Descent(self.iterations, self.lr, optimiser=partial(Adam, sign=True), heat=Cooling(self.heat))
        found = descend(loss, starts, labels, rule, report)
        found = replace(found, labels=torch.where(free, found.labels.softmax(-1), labels))
        return settled(found, compare, cosine, self.contrast) if self.relax or self.contrast else found

    def _starts(self, history: History, sums: Sums, seed: int) -> Tensor:
        """Draw ``[1, R, P * B, C, H, W]`` on the CPU, so that every device starts from the same bits."""
        seen = history.observations[history.attacked]
        count = len(sums.participations) * seen.num_images
        starts = [
            STARTS[name](seen.facts, count, stream(seed, "start", name, 0, seen.round_idx, *seen.client_ids))
            for name in self.starts
            for _ in self.tv
        ]
        return torch.stack(starts).unsqueeze(0).to(seen.broadcast)


def _as_numbers(known: Tensor | None, starts: Tensor, num_classes: int) -> Tensor:
    """Return ``[1, R, P * B, K]``: known labels one-hot, or logits of equal probabilities."""
    if known is None:
        return starts.new_zeros(*starts.shape[:3], num_classes)
    return functional.one_hot(known, num_classes).to(starts).expand(*starts.shape[:3], -1)


def _flaw(sums: Sums) -> str | None:
    if not bool(torch.isfinite(sums.received).all() & torch.isfinite(sums.points).all()):
        return "the uploads or the weights hold a number that is not finite"
    return None if bool(sums.received.any()) else "nothing was sent that the attack can use"


def _report(progress: Progress, index: int, count: int, iterations: int, iteration: int, losses: Tensor) -> None:
    if iteration % 25 == 0:
        progress((index + iteration / iterations) / count, float(losses.min()))
