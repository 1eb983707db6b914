from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from priprune_defenses.dp import DP
from priprune_defenses.dp_claims import reasons_against
from priprune_plugins.messages import Run, Upload

pytest.importorskip("dp_accounting", reason="the extra [dp] is not installed")

from priprune_defenses.accounting import epsilon


@pytest.mark.parametrize(("uploads", "expected"), [(0, 0.0), (1, 4.73), (10, 19.05), (1000, 654.86)])
def test_epsilon_against_a_server_that_knows_who_takes_part(uploads: int, expected: float) -> None:
    assert epsilon(1.0, 1e-5, uploads) == pytest.approx(expected, abs=0.005)


def test_the_librarys_golden_value() -> None:
    assert epsilon(1.0, 1e-5, 1000, sampled=0.01) == pytest.approx(2.1014, abs=1e-4)


def test_the_update_is_clipped_and_noised_everywhere_but_where_pruned(participation) -> None:
    world = participation(nn.Linear(20_000, 1, bias=False), lr=1.0)
    mask = torch.arange(20_000) % 2 == 0
    received = torch.full((20_000,), 0.5).masked_fill_(~mask, 0.0)
    upload = world(DP(clip=3.0, noise=1e-9), world.client(received, mask), [torch.ones(20_000)])
    assert float((upload.weights - received).norm()) == pytest.approx(3.0, rel=1e-3)
    noisy = world(DP(clip=3.0, noise=2.0), world.client(received, mask), [torch.zeros(20_000)])
    assert not noisy.weights[~mask].any()
    assert float((noisy.weights - received)[mask].std()) == pytest.approx(6.0, rel=0.05)


def test_an_update_below_the_norm_is_left(participate) -> None:
    upload = participate(DP(clip=100.0, noise=1e-12), participate.client(torch.zeros(6)), [torch.ones(6)])
    assert upload.weights.tolist() == pytest.approx([-0.1] * 6)


def test_every_parameter_sized_extra_is_clipped_and_noised_on_its_own(participate) -> None:
    client = participate.client(torch.zeros(6))
    extras = {"squares": torch.full((6,), 100.0), "tau": torch.ones(1), "mask": torch.ones(6, dtype=torch.bool)}
    upload = DP(clip=1.0, noise=1e-9).before_upload(client, Upload((0,), 0, 20, torch.ones(6), extras=extras))
    assert float(upload.extras["squares"].norm()) == pytest.approx(1.0)
    assert upload.extras["tau"] is extras["tau"] and upload.extras["mask"] is extras["mask"]
    noise = DP(clip=1.0, noise=1.0).before_upload(client, Upload((0,), 0, 20, torch.zeros(6), extras=extras))
    assert not torch.allclose(noise.weights, noise.extras["squares"] - upload.extras["squares"])


def entry(scenario: dict[str, object], uploads: int = 1) -> dict[str, object]:
    plugin, state, record = DP(), {}, {}
    server = SimpleNamespace(state=lambda plugin: state, round_idx=9)
    plugin.on_run_start(Run(Path(), scenario, facts=None))
    for _ in range(uploads):
        plugin.on_server_receive(server, Upload((3,), 0, 20, torch.zeros(6)))
    plugin.on_round_end(server, record)
    return record["dp"]


def test_the_record_gives_the_epsilon_of_the_client_that_sent_most() -> None:
    told = entry({"defenses": [{"name": "dp"}]}, uploads=10)
    assert told["uploads"] == 10 and told["epsilon_server"] == pytest.approx(19.05, abs=0.005)
    assert told["epsilon_central"] is None and told["epsilon_central_assumes"] == "needs secagg"


def test_a_central_epsilon_needs_secagg_and_states_its_assumption() -> None:
    scenario = {
        "defenses": [{"name": "dp"}, {"name": "secagg"}],
        "data": {"clients": 100},
        "algorithm": {"clients_per_round": 1},
    }
    told = entry(scenario)
    assert told["epsilon_central"] == pytest.approx(epsilon(1.0, 1e-5, 10, sampled=0.01))
    assert "Poisson" in told["epsilon_central_assumes"]


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ({"defenses": [{"name": "largest"}, {"name": "dp"}]}, "largest withholds by clean data"),
        ({"defenses": [{"name": "dp"}, {"name": "priprune"}]}, "priprune withholds by clean data"),
        ({"defenses": [{"name": "dp"}], "pruner": {"name": "feddst"}}, "feddst: each client's mask"),
        ({"defenses": [{"name": "dp"}], "pruner": {"name": "prunefl"}}, "initial: magnitude does not"),
        ({"defenses": [{"name": "dp"}], "model": {"name": "resnet18"}}, "batch-norm statistics"),
        ({"defenses": [{"name": "dp"}], "algorithm": {"name": "qfedavg"}}, "loss on each client's clean data"),
        ({"defenses": [{"name": "dp"}], "algorithm": {"name": "ifca"}}, "which model fits each client's clean data"),
    ],
)
def test_nothing_is_promised_where_clean_data_leaves_too(scenario: dict[str, object], reason: str) -> None:
    told = entry(scenario)
    assert told["epsilon_server"] is None and reason in told["epsilon_server_assumes"]


def test_a_mask_drawn_blindly_or_from_the_noised_update_voids_nothing() -> None:
    blind = [{"name": "random_withhold"}, {"name": "release"}, {"name": "dp"}, {"name": "largest"}, {"name": "mix"}]
    assert reasons_against({"defenses": blind, "pruner": {"name": "magnitude"}, "model": {"name": "conv2"}}) == ()
