"""SynFlow against ganguli-lab/Synaptic-Flow, and its refusal to collapse."""

import numpy as np
import pytest
import torch
from torch import nn

from priprune_plugins import ScenarioError
from priprune_plugins.layout import Layout
from priprune_pruners.schedules import density_at
from priprune_pruners.selection import select
from priprune_pruners.synflow import SynFlow, synflow_mask, synflow_scores

CASES = [(name, d) for name in ("scores_mlp_small", "scores_convnet") for d in (50, 30, 10)]


@pytest.mark.parametrize(("name", "density"), CASES)
@pytest.mark.parametrize(
    ("method", "iterations", "path"),
    [("synflow1", 1, "exponential"), ("synflow100", 100, "exponential"), ("synflow100_linear", 100, "linear")],
)
def test_masks_equal_the_official_ones(oracle_net, name, density, method, iterations, path) -> None:
    net = oracle_net(name)
    prunable, shape = net.layout.prunable, tuple(net.images.shape[1:])
    arguments = (net.model, net.layout, net.weights, prunable, 1 - density / 100, shape, iterations, path)
    mask = synflow_mask(*arguments, rule="synaptic_flow")
    assert torch.equal(mask[prunable], net.mask(f"{method}/d{density}"))


@pytest.mark.parametrize(("name", "density"), CASES)
@pytest.mark.parametrize("iterations", [1, 100])
def test_last_scores_equal_the_official_ones(oracle_net, name, density, iterations) -> None:
    net = oracle_net(name)
    prunable, shape, rate = net.layout.prunable, tuple(net.images.shape[1:]), 1 - density / 100
    mask = torch.ones_like(prunable)
    for step in range(1, iterations):
        scores = synflow_scores(net.model, net.layout, net.weights, mask, shape)
        mask = select(scores, prunable, 1 - density_at(step, iterations, rate), "synaptic_flow")
    scores = synflow_scores(net.model, net.layout, net.weights, mask, shape)
    np.testing.assert_allclose(scores[prunable], net.flat(f"synflow{iterations}/d{density}/score"), rtol=1e-7)


def test_flow_is_conserved_layer_by_layer() -> None:
    # Without biases every layer carries the whole flow (the paper's Theorem 2).
    net = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 4, bias=False)).double()
    layout = Layout.of(net)
    weights = torch.linspace(-1, 1, layout.num_parameters, dtype=torch.float64)
    scores = synflow_scores(net, layout, weights, torch.ones_like(layout.prunable), (6,))
    first, second = (part.sum() for part in layout.layers(scores))
    torch.testing.assert_close(first, second)


def test_collapsed_layer_is_named() -> None:
    net = nn.Sequential(nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 2))
    layout = Layout.of(net)
    weights = torch.cat([torch.ones(100 * 100 + 100), torch.full((202,), 1e-3)])
    net_first = synflow_mask(net, layout, weights, layout.prunable, 0.9, (100,), iterations=100)
    assert bool(net_first[-202:].any())
    with pytest.raises(ScenarioError, match=r"layer 0\.weight lost all"):
        synflow_mask(net, layout, weights, layout.prunable, 0.985, (100,), iterations=1)


def test_dead_flow_is_refused(federation) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    layout = Layout.of(net)
    with pytest.raises(ScenarioError, match="no order left"):
        synflow_mask(net, layout, torch.zeros(layout.num_parameters), layout.prunable, 0.5, (4,))


def test_plugin_needs_no_data(federation, net) -> None:
    run = federation(SynFlow(rate=0.5), net).round()
    assert run.num_pruned == round(0.5 * int(run.layout.prunable.sum()))


def test_weights_without_flow_go_first_and_together() -> None:
    # Pooling takes one of four positions of a 2x2 map; from there 5 of a kernel's 9 weights see only padding.
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 4))
    layout = Layout.of(net)
    weights = torch.linspace(0.5, 1.5, layout.num_parameters)
    dense = torch.ones_like(layout.prunable)
    dry = layout.prunable & (synflow_scores(net, layout, weights, dense, (1, 2, 2)) == 0)
    assert int(dry.sum()) == 10
    mask = synflow_mask(net, layout, weights, layout.prunable, 0.5, (1, 2, 2))
    assert int((~mask).sum()) == 13
    assert not bool((mask & dry).any())
    with pytest.raises(ScenarioError, match="the flow is 0 or underflowed in more weights than go"):
        synflow_mask(net, layout, weights, layout.prunable, 0.2, (1, 2, 2))
