"""LotteryFL against charleslipku/LotteryFL, and the life of a personal mask."""

import pytest
import torch

from priprune_plugins import ScenarioError
from priprune_plugins.layout import Layout
from priprune_plugins.messages import Evaluation
from priprune_pruners.lotteryfl import LotteryFL, ticket

NAMES = [f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")]


@pytest.mark.parametrize("client", [0, 1, 2])
def test_masks_equal_the_official_percentile(oracle, client: int) -> None:
    data = oracle("lotteryfl")
    shapes = tuple(torch.Size(data[f"in/global/{name}"].shape) for name in NAMES)
    layout = Layout(tuple(NAMES), shapes, tuple(name.endswith("weight") for name in NAMES))
    weights = torch.cat([torch.from_numpy(data[f"in/global/{name}"]).reshape(-1) for name in NAMES])
    mask = torch.ones_like(layout.prunable)
    for _ in range(int(data[f"prune/client{client}/times"])):
        mask = ticket(weights * mask, mask, layout, 0.9, 0.2, "lotteryfl")
    expected = torch.cat([torch.from_numpy(data[f"prune/client{client}/mask/{n}"]).reshape(-1) for n in NAMES[::2]])
    assert torch.equal(mask[layout.prunable], expected.bool())


def test_every_client_prunes_its_own_layers_to_the_rate(federation, net) -> None:
    run = federation(LotteryFL(rate=0.5), net).run(6)
    for mask in run.masks.values():
        for part, size, prunable in zip(
            run.layout.layers(mask), run.layout.sizes, run.layout.prunable_layers, strict=True
        ):
            assert int((~part).sum()) == (round(0.5 * size) if prunable else 0)
    assert run.server.mask is None


def test_official_rule_may_pass_the_rate(federation, net) -> None:
    run = federation(LotteryFL(rate=0.3, compat="lotteryfl"), net).run(6)
    pruned = float((~run.masks[0]).sum() / run.layout.prunable.sum())
    assert pruned == pytest.approx(1 - 0.8**2, abs=0.02)


def test_poor_accuracy_prunes_nothing(federation, net) -> None:
    run = federation(LotteryFL(rate=0.5, accuracy=0.2), net, validation_accuracy=0.2).run(2)
    assert bool(run.masks[0].all())


def test_pruning_rewinds_to_the_initial_weights(federation, net) -> None:
    run = federation(LotteryFL(rate=0.5, accuracy=0.2), net, validation_accuracy=0.0).run(3)
    run.validation_accuracy = 1.0
    client = run.client(0, 3)
    run.pruner.on_local_train_start(client)
    assert torch.equal(client.weights, run.initial * client.mask)
    assert not bool(client.mask.all())


def test_personal_model_is_the_global_one_under_the_own_mask(federation, net) -> None:
    run = federation(LotteryFL(rate=0.5), net).run(3)
    client = run.client(1, 3)
    run.pruner.on_client_evaluate(client)
    assert torch.equal(client.weights, run.server.weights * run.masks[1])


def test_missing_validation_split_names_the_key(federation, net) -> None:
    run = federation(LotteryFL(), net)
    client = run.client(0, 0)
    client._evaluate = lambda split: Evaluation(float("nan"), float("nan"), 0)
    with pytest.raises(ScenarioError, match=r"data\.validation"):
        run.pruner.on_local_train_start(client)
