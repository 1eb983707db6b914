"""The descent: the rule for the best iterate, bounds, and what moves."""

import math

import torch
from torch import Tensor

from priprune_attacks.lbfgs import LBFGS
from priprune_attacks.optimise import Cooling, Descent, constant, cosine_decay, descend

NO_LABELS = torch.zeros(1, 1, 1, 2)


def quiet(iteration: int, losses: Tensor) -> None:
    pass


def test_the_best_iterate_comes_with_the_loss_measured_at_it() -> None:
    def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value = (images - 0.5).square().flatten(2).sum(-1)
        return 2 * value, value

    start = torch.full((1, 1, 1, 1, 2, 2), 0.45)
    found = descend(loss, start, NO_LABELS, Descent(9, 0.1, constant), quiet)
    total, match = loss(found.images, NO_LABELS)
    assert torch.equal(found.total, total)
    assert torch.equal(found.match, match)
    assert found.match.item() == found.trace.min().item()
    assert found.match.item() < found.trace[-1].item()


def test_a_row_that_is_never_finite_touches_no_other() -> None:
    def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value = (images - 0.5).square().flatten(2).sum(-1) * torch.tensor([[1.0, math.nan]])
        return value, value

    start = torch.rand(1, 2, 1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = descend(loss, start, NO_LABELS.expand(1, 2, 1, 2), Descent(60), quiet)
    assert found.total[0, 1] == math.inf
    assert found.match[0, 0] < 1e-3


def test_images_stay_in_range_only_where_they_are_bounded() -> None:
    def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value = -images.flatten(2).sum(-1)
        return value, value

    start = torch.full((1, 1, 1, 1, 2, 2), 0.95)
    assert descend(loss, start, NO_LABELS, Descent(5), quiet).images.max() == 1.0
    assert descend(loss, start, NO_LABELS, Descent(5, bounded=False), quiet).images.max() > 1.0


def test_labels_move_where_the_loss_depends_on_them() -> None:
    free = torch.tensor([True, False]).view(2, 1, 1)

    def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value = images.flatten(2).sum(-1) - torch.where(free, labels, labels.detach())[..., 0].sum(-1)
        return value, value

    start = torch.full((1, 2, 1, 1, 2, 2), 0.5)
    found = descend(loss, start, NO_LABELS.expand(1, 2, 1, 2), Descent(5), quiet)
    assert found.labels[0, 0, 0, 0].item() > 0.1
    assert torch.equal(found.labels[0, 1], torch.zeros(1, 2))
    assert found.labels[0, 0, 0, 1].item() == 0.0


def test_a_quasi_newton_method_is_a_rule_like_any_other() -> None:
    def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value = (images - 0.3).pow(4).flatten(2).sum(-1)
        return value, value

    rule = Descent(40, 1.0, constant, lambda: LBFGS(wolfe=True), bounded=False)
    found = descend(loss, torch.ones(2, 1, 1, 1, 2, 2), NO_LABELS.expand(2, 1, 1, 2), rule, quiet)
    assert (found.match < 1e-6).all()


def test_cosine_decay_falls_from_one_to_zero() -> None:
    assert cosine_decay(0.0) == 1.0
    assert math.isclose(cosine_decay(0.5), 0.5)
    assert cosine_decay(1.0) == 0.0


def test_a_prior_cools_geometrically_to_its_own_strength() -> None:
    heat = Cooling(100.0)
    assert [round(heat(share), 6) for share in (0.0, 0.5, 1.0)] == [100.0, 10.0, 1.0]


def test_a_hot_prior_steers_the_first_steps_and_a_cold_one_chooses() -> None:
    def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        match, pull = (images.flatten(2).sum(-1) - 4.0) * 0.1, images.flatten(2).sum(-1) * 0.01
        return match.neg() + pull, match.neg()

    start = torch.full((1, 1, 1, 1, 2, 2), 0.5)
    hot = descend(loss, start, NO_LABELS, Descent(2, 0.1, constant, heat=Cooling(1000.0)), quiet)
    assert hot.trace[1] > hot.trace[0]
    assert torch.equal(hot.images, start)
    assert descend(loss, start, NO_LABELS, Descent(2, 0.1, constant), quiet).trace.diff(dim=0).item() < 0
