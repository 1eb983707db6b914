"""Objectives and priors by hand."""

import pytest
import torch

from priprune_attacks.objectives import Products, cosine, l2
from priprune_attacks.priors import l2_norm, total_variation

# One victim, one restart, two layers: gradient (3, 0 | 4), target (1, 0 | 0).
PRODUCTS = Products(torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[9.0, 16.0]]]), torch.tensor([[[1.0, 0.0]]]))


def test_cosine_and_l2_join_all_layers() -> None:
    assert cosine(PRODUCTS).item() == pytest.approx(1 - 3 / 5)
    assert l2(PRODUCTS).item() == 4.0 + 16.0


def test_cosine_of_a_zero_gradient_is_one_and_has_a_finite_gradient() -> None:
    square = torch.zeros(1, 1, 1, requires_grad=True)
    loss = cosine(Products(torch.zeros(1, 1, 1), square, torch.ones(1, 1, 1)))
    (grad,) = torch.autograd.grad(loss.sum(), square)
    assert loss.item() == 1.0
    assert grad.isfinite().all()


def test_total_variation_of_a_constant_image_is_zero_and_of_a_step_by_hand() -> None:
    step = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]).view(1, 1, 1, 2, 3)
    assert total_variation(torch.full((1, 1, 1, 4, 4), 0.7)).item() == 0.0
    assert total_variation(step).item() == 0.5


def test_the_prior_pulls_one_image_equally_in_any_batch() -> None:
    images = torch.rand(8, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    pulls = []
    for batch in (images[:1], images):
        free = batch.clone().requires_grad_()
        pulls.append(torch.autograd.grad(total_variation(free).sum(), free)[0][0])
    assert torch.equal(*pulls)


def test_l2_norm_by_hand() -> None:
    assert l2_norm(torch.tensor([1.0, 2.0, 2.0, 3.0]).view(2, 1, 1, 2)).item() == 2.5 + 6.5
