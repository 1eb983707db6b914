"""The descent of a batch of guesses, each with its own best iterate; nothing here waits for the device."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from priprune_attacks.adam import Adam

Schedule = Callable[[float], float]
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Report = Callable[[int, Tensor], None]


class Optimiser(Protocol):
    """Moves rows that do not touch each other; one object serves one descent."""

    def step_(self, values: Tensor, grad: Tensor, loss: Tensor, lr: float) -> None:
        """Move ``values [V, R, N]`` in place, given gradient ``[V, R, N]`` and loss ``[V, R]`` measured there."""
        ...


def cosine_decay(share: float) -> float:
    """Return the factor on the learning rate after a ``share`` in [0, 1] of all steps, falling from 1 to 0."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


def constant(share: float) -> float:
    """Return 1 at any ``share`` of the steps."""
    return 1.0


@dataclass(frozen=True)
class Cooling:
    """A factor that falls from ``first`` to 1 at a constant rate: what a prior is multiplied by while it cools.

    A strong prior at first leads past the many local minima that matching has on nets with rectifiers and pooling; at
    the end it no longer blurs. Departure from the papers of gradient matching, which keep their priors constant.

    Args:
        first: The factor at the start, at least 1.
    """

    first: float

    def __call__(self, share: float) -> float:
        return float(self.first ** (1.0 - share))


@dataclass(frozen=True, eq=False)
class Descent:
    """How guesses are improved.

    Args:
        iterations: Loss evaluations.
        lr: Learning rate at the start; images are in [0, 1].
        schedule: Factor on it over the share of steps done.
        optimiser: Makes the optimiser: ``Adam``, ``partial(Adam, sign=True)``, ``LBFGS`` or a third party's.
        bounded: Clamp images (or what they are decoded from) to [0, 1] after every step. A quasi-Newton method has to
            go without: its pairs would describe another path.
        heat: Factor on what the loss adds to the match, over the share of steps done; 1 at the end, which is what the
            best iterate is chosen by.
    """

    iterations: int = 300
    lr: float = 0.1
    schedule: Schedule = cosine_decay
    optimiser: Callable[[], Optimiser] = Adam
    bounded: bool = True
    heat: Schedule = constant


@dataclass(frozen=True, eq=False)
class Descended:
    """The best iterate of each row by its own total loss.

    Args:
        images: ``[V, R, B, ...]`` images, or what they are decoded from.
        labels: ``[V, R, B, K]`` as :func:`descend` takes them.
        total: ``[V, R]`` loss with the prior; infinite where no iterate had a finite one.
        match: ``[V, R]`` loss without the prior, of the same iterate.
        trace: ``[iterations, V, R]`` loss without the prior.
    """

    images: Tensor
    labels: Tensor
    total: Tensor
    match: Tensor
    trace: Tensor

    def winners(self) -> "Descended":
        """Return the one row of each victim with the lowest match among those with a finite total: ``R`` becomes 1."""
        rows = torch.arange(len(self.match), device=self.match.device)
        best = self.match.where(self.total.isfinite(), math.inf).argmin(1)

        def kept(part: Tensor) -> Tensor:
            return part[rows, best].unsqueeze(1)

        trace = self.trace[:, rows, best].unsqueeze(2)
        return Descended(kept(self.images), kept(self.labels), kept(self.total), kept(self.match), trace)


def descend(loss: Loss, images: Tensor, labels: Tensor, rule: Descent, report: Report) -> Descended:
    """Minimise ``loss(images, labels) -> (total [V, R], match [V, R])`` from the given start.

    Losses belong to the iterate that they were measured at, and the best iterate is kept together with its own loss.
    Labels move where the loss depends on them.

    Args:
        loss: Differentiable in the images, and in those labels that are searched.
        images: ``[V, R, B, ...]``.
        labels: ``[V, R, B, K]``.
        rule: Iterations and optimiser.
        report: Called with the number of every iteration and its losses ``[V, R]`` without the prior.
    """
    size = images[0, 0].numel()
    values = torch.cat([images.flatten(2), labels.flatten(2)], -1)
    optimiser, best, trace = rule.optimiser(), _Best(values), []
    for iteration in range(rule.iterations):
        values.requires_grad_()
        share = iteration / rule.iterations
        total, match = loss(values[..., :size].view_as(images), values[..., size:].view_as(labels))
        (grad,) = torch.autograd.grad(_heated(total, match, rule.heat(share)).sum(), values)
        values, total, match = values.detach(), total.detach(), match.detach()
        best.update_(values, total, match)
        trace.append(match)
        optimiser.step_(values, grad, total, rule.lr * rule.schedule(share))
        if rule.bounded:
            values[..., :size].clamp_(0.0, 1.0)
        report(iteration, match)
    found = best.values[..., :size].reshape(images.shape), best.values[..., size:].reshape(labels.shape)
    return Descended(*found, best.total, best.match, torch.stack(trace))


def _heated(total: Tensor, match: Tensor, heat: float) -> Tensor:
    return total if heat == 1.0 else match + heat * (total - match)


class _Best:
    """Per row the values with the lowest finite total loss so far, chosen on the device."""

    def __init__(self, values: Tensor) -> None:
        self.values = values.clone()
        self.total = values.new_full(values.shape[:2], math.inf)
        self.match = self.total.clone()

    def update_(self, values: Tensor, total: Tensor, match: Tensor) -> None:
        better = total < self.total
        self.total = torch.where(better, total, self.total)
        self.match = torch.where(better, match, self.match)
        self.values = torch.where(better.unsqueeze(-1), values, self.values)
