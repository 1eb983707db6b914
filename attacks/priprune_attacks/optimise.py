"""Adam on a batch of guesses, each with its own best iterate; nothing here waits for the device.

Adam works elementwise, so rows (victims and restarts) do not touch each other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Schedule = Callable[[float], float]
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def cosine_decay(share: float) -> float:
    """Return the factor on the learning rate after a ``share`` in [0, 1] of all steps, falling from 1 to 0."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


def constant(share: float) -> float:
    """Return 1 at any ``share`` of the steps."""
    return 1.0


@dataclass(frozen=True, eq=False)
class Descent:
    """How guesses are improved.

    Args:
        iterations: Loss evaluations.
        lr: Adam's learning rate at the start; images are in [0, 1].
        schedule: Factor on it over the share of steps done.
        sign: Give Adam the sign of the gradient, as Geiping et al. (2020) do.
    """

    iterations: int = 300
    lr: float = 0.1
    schedule: Schedule = cosine_decay
    sign: bool = False


@dataclass(eq=False)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015, arXiv:1412.6980) without weight decay, its learning rate given at every step."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    _steps: int = field(default=0, init=False)
    _moments: tuple[Tensor, Tensor] | None = field(default=None, init=False)

    def step_(self, values: Tensor, grad: Tensor, lr: float) -> None:
        """Move ``values`` against ``grad``, in place."""
        first, second = self._moments or (torch.zeros_like(grad), torch.zeros_like(grad))
        self._moments = (first, second)
        self._steps += 1
        first.lerp_(grad, 1.0 - self.betas[0])
        second.mul_(self.betas[1]).addcmul_(grad, grad, value=1.0 - self.betas[1])
        unbias = 1.0 - self.betas[0] ** self._steps, 1.0 - self.betas[1] ** self._steps
        values.addcdiv_(first, (second / unbias[1]).sqrt_().add_(self.eps), value=-lr / unbias[0])


@dataclass(frozen=True, eq=False)
class Descended:
    """The best iterate of each row by its own total loss.

    Args:
        images: ``[V, R, B, C, H, W]``.
        logits: ``[V, R, B, K]``.
        total: ``[V, R]`` loss with the prior; infinite where no iterate had a finite one.
        match: ``[V, R]`` loss without the prior, of the same iterate.
        trace: ``[iterations, V, R]`` loss without the prior.
    """

    images: Tensor
    logits: Tensor
    total: Tensor
    match: Tensor
    trace: Tensor


def descend(
    loss: Loss, images: Tensor, logits: Tensor, search_labels: bool, rule: Descent, report: Callable[[int], None]
) -> Descended:
    """Minimise ``loss(images, logits) -> (total [V, R], match [V, R])`` from the given start.

    Losses belong to the iterate that they were measured at, and the best iterate is kept together with its own loss.
    Images are clamped to [0, 1] after every step.

    Args:
        loss: Differentiable in both arguments.
        images: ``[V, R, B, C, H, W]``.
        logits: ``[V, R, B, K]`` of the labels; moved only with ``search_labels``.
        search_labels: Whether labels are searched too.
        rule: Iterations and optimiser.
        report: Called with the number of every iteration.
    """
    free = [images.clone().requires_grad_(), logits.clone().requires_grad_(search_labels)]
    moved = free if search_labels else free[:1]
    optimisers = [Adam() for _ in moved]
    best = _Best(free)
    trace = []
    for iteration in range(rule.iterations):
        total, match = loss(free[0], free[1])
        grads = torch.autograd.grad(total.sum(), moved)
        best.update_(free, total.detach(), match.detach())
        trace.append(match.detach())
        lr = rule.lr * rule.schedule(iteration / rule.iterations)
        with torch.no_grad():
            for adam, values, grad in zip(optimisers, moved, grads, strict=True):
                adam.step_(values, grad.sign() if rule.sign else grad, lr)
            free[0].clamp_(0.0, 1.0)
        report(iteration)
    return Descended(best.values[0], best.values[1], best.total, best.match, torch.stack(trace))


class _Best:
    """Per row the values with the lowest finite total loss so far, chosen on the device."""

    def __init__(self, values: list[Tensor]) -> None:
        self.values = [value.detach().clone() for value in values]
        self.total = values[0].new_full(values[0].shape[:2], math.inf)
        self.match = self.total.clone()

    def update_(self, values: list[Tensor], total: Tensor, match: Tensor) -> None:
        better = total < self.total
        self.total = torch.where(better, total, self.total)
        self.match = torch.where(better, match, self.match)
        for kept, value in zip(self.values, values, strict=True):
            rows = better.view(*better.shape, *(1,) * (kept.dim() - 2))
            kept.copy_(torch.where(rows, value.detach(), kept))
