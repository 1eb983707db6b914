"""GraSP against ganguli-lab/Synaptic-Flow and alecwangcq/GraSP."""

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad
from torch.nn.functional import cross_entropy

from priprune_pruners.gradients import hessian_gradient_product
from priprune_pruners.grasp import GraSP, grasp_scores
from priprune_pruners.selection import select

CASES = [(name, d) for name in ("scores_mlp_small", "scores_convnet") for d in (50, 30, 10)]


def scored(net, batches, dtype=torch.float64):
    weights = net.weights.to(dtype)
    batches = [(images.to(dtype), labels) for images, labels in batches]
    along = net.layout.prunable
    return grasp_scores(weights, hessian_gradient_product(net.model, net.layout, weights, batches, along, 200.0))


@pytest.mark.parametrize(("name", "density"), CASES)
def test_whole_batch_equals_synaptic_flow(oracle_net, name: str, density: int) -> None:
    net = oracle_net(name)
    scores, prunable = scored(net, [(net.images, net.labels)]), net.layout.prunable
    official = scores[prunable] / (scores[prunable].sum().abs() + 1e-10)
    np.testing.assert_allclose(official, net.flat(f"grasp_sf/d{density}/score"), rtol=1e-7)
    mask = select(scores, prunable, 1 - density / 100, "synaptic_flow")
    assert torch.equal(mask[prunable], net.mask(f"grasp_sf/d{density}"))


@pytest.mark.parametrize(("name", "density"), CASES)
def test_halves_sorted_by_class_equal_the_authors_code(oracle_net, name: str, density: int) -> None:
    net = oracle_net(name)
    order = net.tensor("grasp_official/order_idx")
    halves = [(net.images[half], net.labels[half]) for half in order.chunk(2)]
    scores, prunable = scored(net, halves), net.layout.prunable
    # Theirs adds the two halves' mean losses, ours is the mean over all images: g halves twice, and so does H g.
    summed = -4 * scores[prunable]
    official = summed / (summed.sum().abs() + 1e-10)
    np.testing.assert_allclose(official, net.flat(f"grasp_official/d{density}/score"), rtol=1e-7)
    mask = select(scores, prunable, 1 - density / 100, "grasp")
    assert torch.equal(mask[prunable], net.mask(f"grasp_official/d{density}"))


def test_float32_scores_agree(oracle_net) -> None:
    net = oracle_net("scores_convnet")
    scores = scored(net, [(net.images, net.labels)], torch.float32)[net.layout.prunable]
    expected = net.flat("grasp_sf/d30/score")
    official = scores / (scores.sum().abs() + 1e-10)
    np.testing.assert_allclose(official, expected, rtol=1e-3, atol=1e-6 * float(expected.abs().max()))


def test_product_equals_the_dense_hessian_times_the_gradient(oracle_net) -> None:
    net = oracle_net("scores_mlp_small")
    loss = lambda flat: cross_entropy(functional_call(net.model, net.layout.unflatten(flat), net.images), net.labels)  # noqa: E731
    gradient = grad(loss)(net.weights) * net.layout.prunable
    product = grad(lambda flat: (grad(loss)(flat) * gradient).sum())(net.weights)
    ours = hessian_gradient_product(net.model, net.layout, net.weights, [(net.images, net.labels)], net.layout.prunable)
    torch.testing.assert_close(ours, product)


def test_keeps_the_highest_signed_scores(federation, net, public) -> None:
    run = federation(GraSP(rate=0.5, source="clients"), net).setup_round()
    scores = torch.stack([upload.extras["grasp_scores"] for upload in run.uploads]).mean(0)
    run.round()
    kept, prunable = run.server.mask, run.layout.prunable
    assert scores.min() < 0
    assert scores[~kept].max() <= scores[kept & prunable].min()
