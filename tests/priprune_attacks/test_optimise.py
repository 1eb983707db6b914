"""The descent against torch's Adam, and the rule for the best iterate."""

import math

import torch
from torch import Tensor

from priprune_attacks.optimise import Adam, Descent, constant, cosine_decay, descend

NO_LABELS = torch.zeros(1, 1, 1, 2)


def test_adam_equals_torch() -> None:
    ours = torch.rand(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theirs = ours.clone().requires_grad_()
    reference, adam = torch.optim.Adam([theirs], lr=0.1), Adam()
    for step in range(20):
        grad = (theirs.detach() - 0.3) * (step + 1)
        theirs.grad = grad.clone()
        reference.step()
        adam.step_(ours, grad, 0.1)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-12)


def test_the_best_iterate_comes_with_the_loss_measured_at_it() -> None:
    def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value = (images - 0.5).square().flatten(2).sum(-1)
        return 2 * value, value

    start = torch.full((1, 1, 1, 1, 2, 2), 0.45)
    found = descend(loss, start, NO_LABELS, False, Descent(9, 0.1, constant), lambda _: None)
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
    found = descend(loss, start, NO_LABELS.expand(1, 2, 1, 2), False, Descent(60), lambda _: None)
    assert found.total[0, 1] == math.inf
    assert found.match[0, 0] < 1e-3


def test_images_stay_in_range_and_labels_move_only_when_searched() -> None:
    def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value = -images.flatten(2).sum(-1) - labels[..., 0].sum(-1)
        return value, value

    start = torch.full((1, 1, 1, 1, 2, 2), 0.95)
    fixed = descend(loss, start, NO_LABELS, False, Descent(5), lambda _: None)
    searched = descend(loss, start, NO_LABELS, True, Descent(5), lambda _: None)
    assert fixed.images.max() == 1.0
    assert torch.equal(fixed.logits, NO_LABELS)
    assert searched.logits[..., 0].item() > 0.1


def test_cosine_decay_falls_from_one_to_zero() -> None:
    assert cosine_decay(0.0) == 1.0
    assert math.isclose(cosine_decay(0.5), 0.5)
    assert cosine_decay(1.0) == 0.0
