"""Gradient matching: find images whose gradient looks like the one that the uploads give away.

An attack of this family is a :class:`Recipe`, and :func:`match` carries it out: observations that share weights are
one batch with all their tries (restarts times label guesses), in chunks within a memory budget. Each reconstruction is
chosen by the attack's own losses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from priprune_attacks.chunks import Chunk, chunks, most_rows, run_in_halves
from priprune_attacks.compiled import compiled
from priprune_attacks.groups import Group, Victim, grouped, readings
from priprune_attacks.guesses import Guess
from priprune_attacks.objectives import Products
from priprune_attacks.optimise import descend
from priprune_attacks.recipe import Recipe, Restart
from priprune_attacks.settling import probabilities, settled
from priprune_attacks.starts import STARTS
from priprune_attacks.target_batch import TargetBatch
from priprune_plugins import Observation, Progress, Reconstruction
from priprune_plugins.generators import generator as stream

_REPORT_EVERY = 25


def match(
    observations: Sequence[Observation],
    recipe: Recipe,
    generator: torch.Generator,
    progress: Progress,
) -> list[Reconstruction]:
    """Return one reconstruction per observation, in order.

    What unrolls several local steps is also matched as one step, and the reading with the lower loss is kept.

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
        progress: Gets the share done, in [0, 1], and now and then the lowest loss of the rows at work.
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    guesses = [Guess(observation, recipe.target(observation).flaw) for observation in observations]
    sound = [(index, guess.observation) for index, guess in enumerate(guesses) if guess.failed is None]
    parts = readings(sound, recipe.target)
    num_victims = sum(len(members) for _, members in parts)
    bar = _Bar(progress, num_victims * len(recipe.restarts) * recipe.descent.iterations)
    for target_of, members in parts:
        for group in grouped(members, target_of, recipe.labels, seed, recipe.precision):
            _Batch(group, replace(recipe, target=target_of), seed, guesses, bar).run()
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
        group, num_tries = self.group, len(self._tries)
        rows = most_rows(group.gradients, group.facts, group.num_images, num_tries, self.recipe.max_gib, group.steps)
        for chunk in chunks(len(group.victims), num_tries, rows):
            run_in_halves(chunk, self._attack, self._fail)

    @property
    def _tries(self) -> list[tuple[Restart, int]]:
        """Every restart with every label guess, by its index."""
        return list(product(self.recipe.restarts, range(self.group.num_guesses)))

    def _attack(self, chunk: Chunk) -> None:
        recipe, latent = self.recipe, self.recipe.latent(self.group.facts)
        victims = [self.group.victims[v] for v in chunk.victims]
        seen = [victim.observation for victim in victims]
        tries = [self._tries[t] for t in chunk.restarts]
        targets = TargetBatch([recipe.target(observation) for observation in seen], self.group.facts.layout)
        starts = torch.stack(
            [torch.stack([self._start(victim, restart) for restart, _ in tries]) for victim in victims]
        )
        labels = torch.stack([torch.stack([self._labels(victim, *one) for one in tries]) for victim in victims])
        strengths = starts.new_tensor([restart.strength for restart, _ in tries])
        free = starts.new_tensor([victims[0].labels[guess] is None for _, guess in tries]).bool().view(-1, 1, 1)

        def compare(images: Tensor, likely: Tensor) -> Products:
            return self.group.gradients.products(images, likely, targets)

        def distance(images: Tensor, likely: Tensor) -> Tensor:
            return recipe.objective(compare(images, likely))

        distance_of = compiled(distance) if recipe.compile else distance

        def loss(values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            images = latent.decode(values)
            mismatch = distance_of(images, probabilities(labels, free, recipe.relaxed))
            total = mismatch + strengths * recipe.prior(images)
            for penalty in recipe.penalties:
                total = total + penalty(images, self.group.gradients.model, seen)
            return total, mismatch

        report = self.bar.counter(len(chunk))
        found = descend(loss, latent.encode(starts), labels, recipe.descent, report)
        judged_by = torch.where(free, found.labels.softmax(-1), labels)
        found = replace(found, images=latent.decode(found.images).clamp(0.0, 1.0), labels=judged_by)
        if recipe.relaxed or recipe.contrast:
            found = settled(found, compare, recipe.objective, recipe.contrast)
        for position, victim in enumerate(victims):
            self.guesses[victim.index].offer(found, position)

    def _start(self, victim: Victim, restart: Restart) -> Tensor:
        """Draw a start on the CPU, so that every device starts from the same bits."""
        seen = victim.observation
        draws = stream(self.seed, "start", restart.start, restart.draw, seen.round_idx, *seen.client_ids)
        return STARTS[restart.start](seen.facts, seen.num_images, draws).to(seen.broadcast)

    def _labels(self, victim: Victim, restart: Restart, guess: int) -> Tensor:
        """Return ``[B, K]``: one-hot labels, or logits to be searched from."""
        seen, labels = victim.observation, victim.labels[guess]
        if labels is not None:
            return functional.one_hot(labels, seen.facts.num_classes).to(seen.broadcast)
        draws = stream(self.seed, "label start", restart.start, restart.draw, seen.round_idx, *seen.client_ids)
        noise = torch.randn(seen.num_images, seen.facts.num_classes, generator=draws)
        return self.recipe.label_noise * noise.to(seen.broadcast)

    def _fail(self, chunk: Chunk, reason: str) -> None:
        for victim in chunk.victims:
            self.guesses[self.group.victims[victim].index].fail(reason)


class _Bar:
    """Turns row-iterations into calls of ``progress``."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = max(1, total)
        self._done = 0

    def counter(self, rows: int) -> Callable[[int, Tensor], None]:
        """Return what counts an iteration of ``rows`` rows; a repeated iteration does not count past the end."""

        def count(iteration: int, losses: Tensor) -> None:
            self._done = min(self._total, self._done + rows)
            if iteration % _REPORT_EVERY == 0:
                self._progress(self._done / self._total, float(losses.min()))

        return count
