"""SNIP against ganguli-lab/Synaptic-Flow, mil-ad/snip and the rule of namhoonlee/snip-public."""

import numpy as np
import pytest
import torch

from priprune_plugins import ScenarioError
from priprune_pruners.gradients import loss_gradient
from priprune_pruners.selection import select
from priprune_pruners.snip import Snip, snip_scores
from priprune_pruners.targets import Targets


def scored(net):
    return snip_scores(net.weights, loss_gradient(net.model, net.layout, net.weights, [(net.images, net.labels)]))


@pytest.mark.parametrize("name", ["scores_mlp_small", "scores_convnet"])
@pytest.mark.parametrize("density", [50, 30, 10])
def test_scores_and_masks_equal_the_official_ones(oracle_net, name: str, density: int) -> None:
    net = oracle_net(name)
    prunable, scores = net.layout.prunable, scored(net)
    normalised = scores[prunable] / scores[prunable].sum()
    np.testing.assert_allclose(normalised, net.flat(f"snip_sf/d{density}/score"), rtol=1e-7)
    for rule, method in [("synaptic_flow", "snip_sf"), ("mil_ad", "snip_milad")]:
        mask = select(scores, prunable, 1 - density / 100, rule)
        assert torch.equal(mask[prunable], net.mask(f"{method}/d{density}"))


@pytest.mark.parametrize("name", ["scores_mlp_small", "scores_convnet"])
def test_biases_are_pruned_as_in_snip_public(oracle_net, name: str) -> None:
    net = oracle_net(name)
    candidates, scores = Targets(biases=True).candidates(net.layout), scored(net)
    np.testing.assert_allclose(scores / scores.sum(), net.flat("snip_bias_sf/d30/score"), rtol=1e-7)
    assert torch.equal(select(scores, candidates, 0.7, "synaptic_flow"), net.mask("snip_bias_sf/d30"))


def test_float32_scores_agree(oracle_net) -> None:
    net = oracle_net("scores_convnet")
    batches = [(net.images.float(), net.labels)]
    weights = net.weights.float()
    scores = snip_scores(weights, loss_gradient(net.model, net.layout, weights, batches))[net.layout.prunable]
    np.testing.assert_allclose(scores / scores.sum(), net.flat("snip_sf/d30/score"), rtol=1e-5, atol=1e-9)


def test_gradient_is_the_mean_over_all_images_however_batched(oracle_net) -> None:
    net = oracle_net("scores_convnet")
    whole = loss_gradient(net.model, net.layout, net.weights, [(net.images, net.labels)])
    parts = list(zip(net.images.split(7), net.labels.split(7), strict=True))
    torch.testing.assert_close(loss_gradient(net.model, net.layout, net.weights, parts), whole)


def test_public_source_without_a_public_set_names_the_key(federation, net) -> None:
    with pytest.raises(ScenarioError, match=r"data\.public"):
        federation(Snip(), net).round()


def test_clients_source_takes_the_mean_of_client_scores(federation, net) -> None:
    run = federation(Snip(rate=0.5, source="clients"), net).setup_round()
    sent = [upload.extras["snip_scores"] for upload in run.uploads]
    assert len(sent) == 3
    expected = select(torch.stack(sent).mean(0), run.layout.prunable, 0.5)
    assert torch.equal(run.round().server.mask, expected)


def test_client_source_hears_one_client_only(federation, net) -> None:
    run = federation(Snip(source="client", client_id=1), net).setup_round()
    assert [list(upload.extras) for upload in run.uploads] == [[], ["snip_scores"], []]


def test_client_source_without_that_client_says_so(federation, net) -> None:
    with pytest.raises(ScenarioError, match="client 7"):
        federation(Snip(source="client", client_id=7), net).setup_round().round()


def test_setup_clients_name_who_must_take_part() -> None:
    assert Snip().setup_clients == ()
    assert Snip(source="client", client_id=4).setup_clients == (4,)
    assert Snip(source="clients").setup_clients is None
