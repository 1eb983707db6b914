"""L-BFGS over rows: equal to torch's, rows that do not touch each other, and the Wolfe conditions."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from priprune_attacks.lbfgs import LBFGS

Function = Callable[[Tensor], Tensor]


def bowl(values: Tensor) -> Tensor:
    """A quadratic of condition number 100 and a little quartic, per row of ``[..., N]``."""
    scales = torch.logspace(0, 2, values.shape[-1], dtype=values.dtype)
    return (scales * (values - 1.0).square()).sum(-1) + 0.1 * values.pow(4).sum(-1)


def rosenbrock(values: Tensor) -> Tensor:
    head, tail = values[..., :-1], values[..., 1:]
    return (100.0 * (tail - head.square()).square() + (1.0 - head).square()).sum(-1)


def start(rows: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def evaluated(function: Function, values: Tensor) -> tuple[Tensor, Tensor]:
    free = values.clone().requires_grad_()
    loss = function(free)
    (grad,) = torch.autograd.grad(loss.sum(), free)
    return loss.detach(), grad


def run(function: Function, values: Tensor, steps: int, rule: LBFGS, lr: float = 1.0) -> Tensor:
    values = values.clone()
    for _ in range(steps):
        loss, grad = evaluated(function, values)
        rule.step_(values, grad, loss, lr)
    return values


@pytest.mark.parametrize("history", [3, 100])
def test_plain_steps_are_those_of_torch(history: int) -> None:
    first = start(1, 6)
    theirs = first[0].clone().requires_grad_()
    reference = torch.optim.LBFGS([theirs], lr=0.5, max_iter=1, history_size=history)

    def closure() -> Tensor:
        reference.zero_grad()
        loss = bowl(theirs)
        loss.backward()
        return loss

    for _ in range(15):
        reference.step(closure)
    ours = run(bowl, first, 15, LBFGS(history), 0.5)
    torch.testing.assert_close(ours[0], theirs.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("wolfe", [False, True])
def test_rows_do_not_touch_each_other(wolfe: bool) -> None:
    rows = start(3, 5)
    spoiled = rows.clone()
    spoiled[1] = math.nan
    together = run(rosenbrock, spoiled, 40, LBFGS(20, wolfe), 0.1)
    for row in (0, 2):
        alone = run(rosenbrock, rows[row : row + 1], 40, LBFGS(20, wolfe), 0.1)
        torch.testing.assert_close(together[row], alone[0], rtol=1e-10, atol=1e-10)


def test_the_line_search_reaches_a_minimum_from_every_start() -> None:
    found = rosenbrock(run(rosenbrock, start(8, 6, seed=3), 150, LBFGS(wolfe=True)))
    # The chain of six has a second, local minimum near 4.
    assert ((found < 1e-10) | ((found > 3.9) & (found < 4.1))).all()
    assert (found < 1e-10).sum() >= 4


def test_accepted_steps_meet_the_strong_wolfe_conditions() -> None:
    rule, values = LBFGS(wolfe=True), start(4, 6, seed=1)
    accepted = 0
    for _ in range(60):
        loss, grad = evaluated(rosenbrock, values)
        line = rule._line
        if line is not None:
            slope = (grad * line.direction).sum(-1)
            before, step, steepness = line.loss[:, 0], line.step[:, 0].clone(), line.slope[:, 0]
            meets = (loss <= before + 1e-4 * step * steepness) & (slope.abs() <= -0.9 * steepness)
            base = line.base.clone()
        rule.step_(values, grad, loss, 1.0)
        if line is not None:
            assert rule._line is not None
            moved = (rule._line.base != base).any(-1)
            assert torch.equal(moved, meets)
            accepted += int(moved.sum())
    assert accepted > 40


def test_a_loss_that_is_not_finite_shortens_the_step() -> None:
    def walled(values: Tensor) -> Tensor:
        value = (values - 0.9).square().sum(-1)
        return torch.where(values.amax(-1) > 1.0, math.nan, value)

    found = run(walled, torch.zeros(1, 2, dtype=torch.float64), 60, LBFGS(wolfe=True), 5.0)
    torch.testing.assert_close(found, torch.full((1, 2), 0.9, dtype=torch.float64), atol=1e-4, rtol=0)
