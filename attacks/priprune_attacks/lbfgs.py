"""L-BFGS on a batch of rows, each with its own curvature pairs and its own step.

One call of :meth:`LBFGS.step_` takes one evaluation of the loss and never waits for the device: a row that is still
searching along its line tries the next step there while another row takes a new direction.
"""

from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

# Accept a pair where s^T y exceeds this, as torch.optim.LBFGS does.
_CURVATURE = 1e-10


@dataclass(eq=False)
class _Line:
    """Where each row stands on its line; all ``[..., 1]`` but the vectors ``[..., N]``."""

    base: Tensor
    grad: Tensor
    loss: Tensor
    direction: Tensor
    slope: Tensor
    step: Tensor
    low: Tensor
    high: Tensor
    tries: Tensor


@dataclass(eq=False)
class LBFGS:
    """L-BFGS, two-loop recursion, over rows ``[..., N]``.

    Without a line search every step has length ``lr`` but the first, ``min(1, 1 / |g|_1) lr``: the algorithm of
    ``torch.optim.LBFGS`` with its default arguments, which the DLG papers use (theirs also stops inner loops early).
    With one, steps meet the strong Wolfe conditions, found by doubling and bisection.

    Args:
        history: Evaluations whose curvature pairs are kept.
        wolfe: Search along the line.
        max_tries: Evaluations on one line; then the row takes the point if it lies lower, else forgets its pairs and
            turns downhill from where it was.
        sufficient: Share of the slope that the loss must fall by (Armijo).
        curvature: Share of the slope that may be left.

    Reference: Liu, Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical Programming
    1989; Nocedal, Wright, "Numerical Optimization", 2006, algorithms 7.4 and (the conditions) equation 3.7.
    """

    history: int = 100
    wolfe: bool = False
    max_tries: int = 20
    sufficient: float = 1e-4
    curvature: float = 0.9
    _pairs: deque[tuple[Tensor, Tensor, Tensor]] = field(init=False)
    _scale: Tensor | None = field(default=None, init=False)
    _line: _Line | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._pairs = deque(maxlen=self.history)

    def step_(self, values: Tensor, grad: Tensor, loss: Tensor, lr: float) -> None:
        """Move each row of ``values [..., N]``, in place.

        Args:
            values: Where ``grad`` and ``loss`` were measured.
            grad: ``[..., N]``.
            loss: ``[...]``.
            lr: First step tried along a new line.
        """
        loss = loss.unsqueeze(-1)
        if self._line is None:
            self._scale = torch.ones_like(loss)
            self._line = _line_from(values, grad, loss, -grad, _first_step(grad, lr))
        else:
            self._advance(self._line, values, grad, loss, lr)
        values.copy_(self._line.base + self._line.step * self._line.direction)

    def _advance(self, line: _Line, values: Tensor, grad: Tensor, loss: Tensor, lr: float) -> None:
        if not self.wolfe:
            self._remember(values - line.base, grad - line.grad, torch.ones_like(loss, dtype=torch.bool))
            self._line = _line_from(values, grad, loss, self._downhill(grad), torch.full_like(loss, lr))
            return
        accepted, stuck = self._judge_(line, grad, loss)
        self._remember(values - line.base, grad - line.grad, accepted)
        self._forget(stuck)
        point = torch.where(accepted, values, line.base)
        slope_at = torch.where(accepted, grad, line.grad)
        step = torch.where(stuck, _first_step(slope_at, lr), lr)
        renewed = _line_from(point, slope_at, torch.where(accepted, loss, line.loss), self._downhill(slope_at), step)
        self._line = _chosen(accepted | stuck, renewed, line)

    def _judge_(self, line: _Line, grad: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Narrow each row's bracket and choose its next step; return which rows are done, and which got nowhere."""
        slope = (grad * line.direction).sum(-1, keepdim=True)
        # Written so that a loss that is not finite counts as too far.
        enough = loss <= line.loss + self.sufficient * line.step * line.slope
        flat = slope.abs() <= -self.curvature * line.slope
        too_far = ~enough | (slope > 0)
        line.tries += 1
        last = line.tries >= self.max_tries
        accepted = (enough & flat) | (last & (loss < line.loss))
        line.high = torch.where(too_far, line.step, line.high)
        line.low = torch.where(too_far, line.low, line.step)
        line.step = torch.where(line.high.isfinite(), (line.low + line.high) / 2, 2 * line.step)
        return accepted, last & ~accepted

    def _remember(self, moved: Tensor, bent: Tensor, rows: Tensor) -> None:
        """Keep the curvature pairs of ``rows`` where they curve upwards; of others a pair that counts nothing."""
        along = (moved * bent).sum(-1, keepdim=True)
        good = rows & (along > _CURVATURE)
        inverse = torch.where(good, 1.0 / along, 0.0)
        # Zeroed, because 0 times a number that is not finite is not 0.
        self._pairs.append((moved.where(good, 0.0), bent.where(good, 0.0), inverse))
        assert self._scale is not None
        self._scale = torch.where(good, along / bent.square().sum(-1, keepdim=True), self._scale)

    def _forget(self, rows: Tensor) -> None:
        for _, _, inverse in self._pairs:
            inverse.masked_fill_(rows, 0.0)
        assert self._scale is not None
        self._scale = self._scale.masked_fill(rows, 1.0)

    def _downhill(self, grad: Tensor) -> Tensor:
        """Return minus the approximate inverse Hessian times ``grad``."""
        direction = -grad
        weights = []
        for moved, bent, inverse in reversed(self._pairs):
            weight = inverse * (moved * direction).sum(-1, keepdim=True)
            direction = direction.addcmul(weight, bent, value=-1.0)
            weights.append(weight)
        assert self._scale is not None
        direction = direction * self._scale
        for (moved, bent, inverse), weight in zip(self._pairs, reversed(weights), strict=True):
            back = inverse * (bent * direction).sum(-1, keepdim=True)
            direction = direction.addcmul(weight - back, moved)
        return direction


def _first_step(grad: Tensor, lr: float) -> Tensor:
    return lr * grad.abs().sum(-1, keepdim=True).reciprocal().clamp_max(1.0)


def _line_from(point: Tensor, grad: Tensor, loss: Tensor, direction: Tensor, step: Tensor) -> _Line:
    slope = (grad * direction).sum(-1, keepdim=True)
    none = torch.zeros_like(loss)
    return _Line(
        point.clone(), grad, loss, direction, slope, step, none, torch.full_like(loss, torch.inf), none.clone()
    )


def _chosen(rows: Tensor, new: _Line, old: _Line) -> _Line:
    return _Line(*(torch.where(rows, a, b) for a, b in zip(vars(new).values(), vars(old).values(), strict=True)))
