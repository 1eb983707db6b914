"""Magnitude against Synaptic-Flow's and open_lth's masks, and its cycles."""

import numpy as np
import pytest
import torch

from priprune_pruners.magnitude import Magnitude, magnitude_scores
from priprune_pruners.selection import open_lth, select, select_per_layer

NETS_AND_RATES = [(name, d) for name in ("scores_mlp_small", "scores_convnet") for d in (50, 30, 10)]


@pytest.mark.parametrize(("name", "density"), NETS_AND_RATES)
def test_masks_equal_those_of_synaptic_flow(oracle_net, name: str, density: int) -> None:
    net = oracle_net(name)
    scores = magnitude_scores(net.weights)
    np.testing.assert_allclose(scores[net.layout.prunable], net.flat(f"mag_sf/d{density}/score"), rtol=1e-7)
    rate = 1 - density / 100
    mask = select(scores, net.layout.prunable, rate, "synaptic_flow")
    assert torch.equal(mask[net.layout.prunable], net.mask(f"mag_sf/d{density}"))
    local = select_per_layer(scores, net.layout.prunable, rate, net.layout, "synaptic_flow")
    assert torch.equal(local[net.layout.prunable], net.mask(f"mag_local_sf/d{density}"))


@pytest.mark.parametrize("variant", ["all", "keep_last_dense"])
def test_levels_equal_those_of_open_lth(oracle, variant: str) -> None:
    data = oracle("imp_global_20pct")
    layers = ["conv1", "conv2", "fc1", "fc2"]
    flat = lambda key: torch.cat([torch.from_numpy(data[f"{variant}/{key}/{n}.weight"]).reshape(-1) for n in layers])  # noqa: E731
    last = data[f"{variant}/mask_L1/fc2.weight"].size if variant == "keep_last_dense" else 0
    mask = torch.ones(flat("mask_L1").numel(), dtype=torch.bool)
    for level in range(1, 6):
        scores, survivors = flat(f"trained_weight_L{level}").abs(), mask.clone()
        if last:
            survivors[-last:] = False
        mask[survivors] = open_lth(scores[survivors], 0.2, population=int(mask.sum()))
        assert torch.equal(mask, flat(f"mask_L{level}").bool())


def test_smallest_weights_go(federation, net) -> None:
    run = federation(Magnitude(rate=0.5), net).round()
    size, prunable = run.initial.abs(), run.layout.prunable
    assert size[~run.server.mask].max() <= size[run.server.mask & prunable].min()


def test_layer_scope_keeps_the_rate_in_every_layer(federation, net) -> None:
    run = federation(Magnitude(rate=0.5, scope="layer"), net).round()
    for part, size, prunable in zip(
        run.layout.layers(run.server.mask), run.layout.sizes, run.layout.prunable_layers, strict=True
    ):
        assert int((~part).sum()) == (round(size / 2) if prunable else 0)


def test_iterative_reaches_the_rate_by_fifths(federation, net) -> None:
    run = federation(Magnitude(rate=0.5, schedule="iterative", every=2), net)
    total = int(run.layout.prunable.sum())
    counts = [run.round().num_pruned for _ in range(10)]
    assert counts[:5] == [0, 0, round(0.2 * total), round(0.2 * total), counts[4]]
    assert counts[4] == counts[2] + round(0.2 * (total - counts[2]))
    assert counts[-1] == round(0.5 * total)


def test_rewinding_resets_the_weights_at_events_only(federation, net) -> None:
    run = federation(Magnitude(rate=0.3, schedule="iterative", every=2, rewind=True), net).run(2)
    assert not torch.equal(run.server.weights, run.initial)
    run.pruner.on_round_start(run.server)
    assert torch.equal(run.server.weights, run.initial)
    after = run.run(6).server.weights.clone()
    run.pruner.on_round_start(run.server)
    assert torch.equal(run.server.weights, after)
