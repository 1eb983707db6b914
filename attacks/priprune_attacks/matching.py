"""Gradient matching: find images whose gradient looks like the one that the uploads give away.

An attack of this family is a :class:`Recipe`, and :func:`match` carries it out: observations that share weights are
one batch with all their restarts, in chunks within a memory budget. Each guess is chosen by the attack's own losses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from priprune_attacks.chunks import Chunk, chunks, most_rows, run_in_halves
from priprune_attacks.gradients import TargetBatch
from priprune_attacks.groups import Group, Victim, grouped
from priprune_attacks.guesses import Guess
from priprune_attacks.objectives import Objective, cosine
from priprune_attacks.optimise import Descent, descend
from priprune_attacks.priors import Prior, total_variation
from priprune_attacks.starts import STARTS, StartName
from priprune_attacks.targets import Target, pseudo_gradient
from priprune_plugins import Observation, Reconstruction
from priprune_plugins.generators import generator as stream

_REPORT_EVERY = 25


@dataclass(frozen=True)
class Restart:
    """One try: where it starts, and how strongly the prior pulls."""

    start: StartName
    strength: float


@dataclass(frozen=True, eq=False)
class Recipe:
    """How one attack of the family goes about it.

    Args:
        target: What an observation says about a gradient.
        restarts: Tries per observation.
        objective: Distance of a dummy gradient to the target.
        prior: What the restarts' strengths multiply.
        search_labels: Search the labels with the images, instead of counting them on the last layer first.
        descent: Iterations and optimiser.
        max_gib: Memory that one batch may take, an estimate; halved further when memory runs out.
    """

    target: Callable[[Observation], Target] = pseudo_gradient
    restarts: Sequence[Restart] = field(default=(Restart("mean", 1e-2),))
    objective: Objective = cosine
    prior: Prior = total_variation
    search_labels: bool = False
    descent: Descent = field(default_factory=Descent)
    max_gib: float = 2.0


def restarts(starts: Sequence[StartName], strengths: Sequence[float]) -> tuple[Restart, ...]:
    """Return every start with every strength of the prior."""
    return tuple(Restart(start, strength) for start, strength in product(starts, strengths))


def match(
    observations: Sequence[Observation],
    recipe: Recipe,
    generator: torch.Generator,
    progress: Callable[[float], None],
) -> list[Reconstruction]:
    """Return one reconstruction per observation, in order.

    A row keeps its best iterate by its own total loss, the prior included. Among an observation's restarts the lowest
    loss without the prior wins, because strengths differ between restarts. A restart without any finite loss is
    dropped; where all are, the reconstruction says so in ``failed``. The draws of an observation depend on the
    generator's seed, its round and its clients only, so the rest of the batch changes nothing but the rounding of
    batched products; hundreds of iterations amplify that, so that figures of one image move by a few dB between
    batchings while the same call gives the same bits.

    Args:
        observations: What the server holds; their tensors' device is where the work is done.
        recipe: The attack.
        generator: One number is drawn from it.
        progress: Gets the share done, in [0, 1].
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    guesses = [Guess(observation, recipe.target(observation).flaw) for observation in observations]
    sound = [(index, guess.observation) for index, guess in enumerate(guesses) if guess.failed is None]
    bar = _Bar(progress, len(sound) * len(recipe.restarts) * recipe.descent.iterations)
    for group in grouped(sound, recipe.target, recipe.search_labels, seed):
        _Batch(group, recipe, seed, guesses, bar).run()
    progress(1.0)
    return [guess.reconstruction() for guess in guesses]


@dataclass(frozen=True, eq=False)
class _Batch:
    """One group of victims with all restarts."""

    group: Group
    recipe: Recipe
    seed: int
    guesses: Sequence[Guess]
    bar: "_Bar"

    def run(self) -> None:
        group, num_restarts = self.group, len(self.recipe.restarts)
        rows = most_rows(group.gradients, group.facts, group.num_images, num_restarts, self.recipe.max_gib)
        for chunk in chunks(len(group.victims), num_restarts, rows):
            run_in_halves(chunk, self._attack, self._fail)

    def _attack(self, chunk: Chunk) -> None:
        victims = [self.group.victims[v] for v in chunk.victims]
        tries = [self.recipe.restarts[r] for r in chunk.restarts]
        targets = TargetBatch([self.recipe.target(victim.observation) for victim in victims], self.group.facts.layout)
        images = torch.stack([torch.stack([self._start(victim, t.start) for t in tries]) for victim in victims])
        labels = torch.stack([self._labels(victim) for victim in victims]).unsqueeze(1).repeat(1, len(tries), 1, 1)
        strengths = images.new_tensor([t.strength for t in tries])

        def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            probabilities = labels.softmax(-1) if self.group.search_labels else labels
            distance = self.recipe.objective(self.group.gradients.products(images, probabilities, targets))
            return distance + strengths * self.recipe.prior(images), distance

        report = self.bar.counter(len(chunk))
        descended = descend(loss, images, labels, self.group.search_labels, self.recipe.descent, report)
        for position, victim in enumerate(victims):
            self.guesses[victim.index].offer(descended, position)

    def _start(self, victim: Victim, name: StartName) -> Tensor:
        """Draw a start on the CPU, so that every device starts from the same bits."""
        seen = victim.observation
        draws = stream(self.seed, "start", name, seen.round_idx, *seen.client_ids)
        return STARTS[name](seen.facts, seen.num_images, draws).to(seen.broadcast)

    def _labels(self, victim: Victim) -> Tensor:
        """Return ``[B, K]``: one-hot labels, or logits of equal probabilities to be searched from."""
        seen = victim.observation
        if victim.labels is None:
            return seen.broadcast.new_zeros(seen.num_images, seen.facts.num_classes)
        return functional.one_hot(victim.labels, seen.facts.num_classes).to(seen.broadcast)

    def _fail(self, chunk: Chunk, reason: str) -> None:
        for victim in chunk.victims:
            self.guesses[self.group.victims[victim].index].fail(reason)


class _Bar:
    """Turns row-iterations into calls of ``progress``."""

    def __init__(self, progress: Callable[[float], None], total: int) -> None:
        self._progress = progress
        self._total = max(1, total)
        self._done = 0

    def counter(self, rows: int) -> Callable[[int], None]:
        """Return what counts an iteration of ``rows`` rows; a repeated iteration does not count past the end."""

        def count(iteration: int) -> None:
            self._done = min(self._total, self._done + rows)
            if iteration % _REPORT_EVERY == 0:
                self._progress(self._done / self._total)

        return count
