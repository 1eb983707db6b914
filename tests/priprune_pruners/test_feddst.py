"""FedDST against bibikar/feddst, and the faults of that code that are put right."""

from itertools import pairwise

import pytest
import torch

from priprune_plugins import ScenarioError
from priprune_plugins.layout import Layout
from priprune_pruners.budgets import as_left_by_feddst, feddst_budgets, layer_budgets
from priprune_pruners.feddst import FedDST, readjusted
from priprune_pruners.regrowth import pruned_to

LAYERS = ["conv1", "conv2", "fc1", "fc2"]
NAMES = [f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")]


def flat(data, prefix: str, fill: float = 0.0) -> torch.Tensor:
    """Flat vector of ``prefix``, ``fill`` for the biases it has not."""
    return torch.cat([
        torch.from_numpy(data[f"{prefix}/{name}"]).reshape(-1).float() if f"{prefix}/{name}" in data
        else torch.full((data[f"client/in/{name}"].size,), fill)
        for name in NAMES
    ])  # fmt: skip


@pytest.fixture
def net(oracle):
    data = oracle("feddst")
    shapes = tuple(torch.Size(data[f"client/in/{name}"].shape) for name in NAMES)
    return data, Layout(tuple(NAMES), shapes, tuple(name.endswith("weight") for name in NAMES))


@pytest.mark.parametrize(("variant", "over_all"), [("paper", False), ("official", True)])
def test_client_readjustment_equals_the_oracle(net, variant: str, over_all: bool) -> None:
    data, layout = net
    rate, alpha = float(data["client/S"]), float(data["client/alpha"])
    lower, budgets = (as_left_by_feddst(layout, feddst_budgets(layout, r)) for r in (rate + (1 - rate) * alpha, rate))
    mask, weights = flat(data, "client/in_mask", 1).bool(), flat(data, "client/in")
    pruned, grown = readjusted(weights, mask, flat(data, "client/in_grad"), lower, budgets, layout, over_all)
    assert torch.equal(pruned, flat(data, "client/mask_after_prune", 1).bool())
    assert torch.equal(grown, flat(data, f"client/{variant}_mask_after_grow", 1).bool())


def test_official_growth_ends_below_its_budget(net) -> None:
    data, layout = net
    conv2 = slice(*[sum(layout.sizes[:i]) for i in (2, 3)])
    assert int(flat(data, "client/official_mask_after_grow", 1)[conv2].sum()) == 122
    assert int(flat(data, "client/paper_mask_after_grow", 1)[conv2].sum()) == 141


def test_server_prunes_the_union_to_its_budget(net) -> None:
    data, layout = net
    average, union = flat(data, "server/avg_weight"), flat(data, "server/union_mask", 1).bool()
    budgets = as_left_by_feddst(layout, feddst_budgets(layout, float(data["server/S"])))
    mask = pruned_to(average.abs(), union, budgets, layout)
    assert torch.equal(mask, flat(data, "server/out_mask", 1).bool())
    weights = (average * mask)[layout.prunable]
    torch.testing.assert_close(weights, flat(data, "server/out_weight")[layout.prunable], rtol=0, atol=1e-6)


def readjusting(federation, build, **options):
    """A federation just before its first readjustment round, round 1."""
    steps = options.pop("num_steps", 1)
    return federation(FedDST(rate=0.5, until=20, **options), build, num_steps=steps).round()


def test_grown_weights_leave_trained(federation, net_builder) -> None:
    run = readjusting(federation, net_builder)
    before = run.server.mask.clone()
    run.round()
    upload = run.uploads[-1]
    grown = upload.extras["feddst_mask"] & ~before
    assert int(grown.sum()) > 0
    assert float((upload.weights[grown] != 0).float().mean()) > 0.9


def test_readjustment_happens_before_the_middle_step(federation, net_builder) -> None:
    run = readjusting(federation, net_builder, num_steps=5)
    steps = []
    hook = run.pruner.on_local_step

    class Watched:
        def __getattr__(self, name):
            return getattr(hook.__self__, name)

        def on_local_step(self, client):
            had = client.mask
            hook(client)
            steps.append((client.step_idx, client.mask is not had))

    run.pruner = Watched()
    run.round()
    assert [changed for _, changed in steps[:5]] == [False, False, True, False, False]


def test_masks_move_and_counts_stay_until_the_end(federation, net_builder) -> None:
    run = federation(FedDST(rate=0.5, every=1, until=4), net_builder).round()
    counts, masks = [run.num_pruned], [run.server.mask.clone()]
    for _ in range(5):
        run.round()
        counts.append(run.num_pruned)
        masks.append(run.server.mask.clone())
    assert set(counts) == {round(0.5 * int(run.layout.prunable.sum()))}
    assert [torch.equal(a, b) for a, b in pairwise(masks)] == [False] * 3 + [True] * 2


def test_alpha_decays(federation, net_builder) -> None:
    run = federation(FedDST(rate=0.5, alpha=0.8, every=1, until=10), net_builder).round()
    changes = []
    for _ in range(9):
        before = run.server.mask.clone()
        changes.append(int((run.round().uploads[-1].extras["feddst_mask"] & ~before).sum()))
    assert changes[0] > changes[-1] > 0


def test_withheld_mask_counts_as_the_broadcast_one(federation, net_builder) -> None:
    run = readjusting(federation, net_builder)
    run.withhold = lambda client_id, round_idx: torch.ones_like(run.layout.prunable)
    before = run.server.mask.clone()
    assert torch.equal(run.round().server.mask, before)


def test_budgets_are_those_of_rigl(federation, net_builder) -> None:
    run = federation(FedDST(rate=0.7, until=5), net_builder).round()
    kept = tuple(int(part.sum()) for part in run.layout.layers(run.server.mask))
    assert kept == layer_budgets(run.layout, 0.7)


def test_end_is_half_of_the_run_or_must_be_given(federation, net_builder) -> None:
    run = federation(FedDST(every=1), net_builder, rounds=4)
    sent = [bool(run.round().uploads[-1].extras) for _ in range(4)]
    assert sent == [False, True, False, False]
    with pytest.raises(ScenarioError, match=r"pruner\.until"):
        federation(FedDST(), net_builder, rounds=None).round()
