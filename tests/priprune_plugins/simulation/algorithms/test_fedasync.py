"""FedAsync by hand: who is sent what, the weight of each upload, and the weights after some rounds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from priprune_plugins import Client, Upload, hookimpl
from priprune_plugins.plugins import Registered
from priprune_plugins.simulation.algorithms.fedasync import FedAsync
from priprune_plugins.simulation.algorithms.fedasync_handler import faded
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

Build = Callable[..., Federation]
OneRound = Callable[[Federation, int], list[Sent]]


@dataclass(frozen=True, eq=False)
class Withhold:
    """Withholds the first weight of every upload."""

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload:
        return upload.withhold(torch.arange(upload.weights.numel()) == 0)


def delays_of(federated: Federation) -> list[int]:
    delays: list[int] = federated.payload[-1][0].tolist()
    return delays


def test_the_weights_are_those_of_the_papers_rule(quadratic: Build, problem: Any) -> None:
    """Three clients a round, one step each: the i-th upload of a round is 3 * delay + i updates old."""
    federated = quadratic(FedAsync(alpha=0.7, fading="polynomial", a=0.5, max_delay=2))
    w, began, seen = problem.w, [], set()
    for round_idx in range(8):
        began.append(w)
        client_ids = federated.start_round(round_idx)
        delays = delays_of(federated)
        seen.update(delays)
        federated.aggregate(federated.train(client_ids))
        for place, client_id in enumerate(client_ids):
            late = min(delays[client_id], round_idx)
            old = began[round_idx - late]
            trained = old - problem.lr * problem.gradient(client_id, old)
            staleness = 3 * late + place
            w = w + 0.7 * (staleness + 1) ** -0.5 * (trained - w)
    torch.testing.assert_close(federated.server.weights.double(), w, rtol=0, atol=1e-6)
    assert seen == {0, 1, 2}


@pytest.mark.parametrize(
    ("fading", "expected"),
    [("constant", [1, 1, 1, 1]), ("hinge", [1, 1, 1 / 3, 1 / 7]), ("polynomial", [1, 1 / 9, 1 / 16, 1 / 36])],
)
def test_the_weight_falls_as_the_paper_says(fading: Any, expected: list[float]) -> None:
    assert [faded(fading, staleness, 2, 2) for staleness in (0, 2, 3, 5)] == pytest.approx(expected)


def test_without_delay_and_fading_one_client_a_round_is_fedavg(federation: Build) -> None:
    late, plain = federation(FedAsync(alpha=1.0, fading="constant", max_delay=0)), federation(FedAvg())
    for round_idx in range(3):
        for federated in (late, plain):
            federated.start_round(round_idx)
            federated.aggregate(federated.train([round_idx]))
    assert torch.equal(late.server.weights, plain.server.weights)


def test_what_is_withheld_stays_as_the_server_has_it(quadratic: Build, problem: Any) -> None:
    federated = quadratic(FedAsync(max_delay=3), plugins=(Registered("defenses", "w", "defenses[0]:w", Withhold()),))
    for round_idx in range(5):
        federated.aggregate(federated.train(federated.start_round(round_idx)))
    assert float(federated.server.weights[0]) == problem.start[0]
    assert bool((federated.server.weights[1:] != torch.tensor(problem.start[1:])).all())


def test_an_upload_is_measured_against_what_its_client_was_sent(federation: Build, one_round: OneRound) -> None:
    federated = federation(FedAsync(max_delay=2))
    began: list[Tensor] = []
    for round_idx in range(4):
        began.append(federated.server.weights.clone())
        client_ids = federated.start_round(round_idx)
        delays = delays_of(federated)
        received = federated.train(client_ids)
        for sent in received:
            (client_id,) = sent.upload.client_ids
            old = began[max(round_idx - delays[client_id], 0)]
            dense = federated.setting.algorithm.dense(federated.handler, sent.upload)
            assert torch.equal(sent.received, old) and dense is not None and torch.equal(dense, old)
        federated.aggregate(received)


def test_a_client_is_sent_one_model_of_all(federation: Build, one_round: OneRound) -> None:
    federated, plain = federation(FedAsync(max_delay=2)), federation(FedAvg())
    for round_idx in range(3):
        one_round(federated, round_idx)
        one_round(plain, round_idx)
    assert len(federated.payload) == 4
    assert federated.bytes_down() == plain.bytes_down()


def test_another_seed_makes_other_clients_late(federation: Build) -> None:
    setting, late = federation(FedAsync(max_delay=3)).setting, []
    for seed in (1, 1, 2):
        handler = setting.algorithm.handler(setting.model, replace(setting.training, seed=seed), 9)
        late.append(handler.downlink_package[-1].tolist())
    assert late[0] == late[1] != late[2]


def test_a_client_is_evaluated_on_the_newest_weights(federation: Build, one_round: OneRound) -> None:
    late, plain = federation(FedAsync(max_delay=3)), federation(FedAvg())
    for round_idx in range(3):
        one_round(late, round_idx)
    plain.server.weights.copy_(late.server.weights)
    assert late.test_clients(range(12)) == plain.test_clients(range(12))


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_weights_that_a_plugin_sets_are_set_in_every_version(
    federation: Build, one_round: OneRound, value: float
) -> None:
    federated = federation(FedAsync(max_delay=2))
    for round_idx in range(3):
        one_round(federated, round_idx)
    before = [version.clone() for version in federated.handler.older]
    federated.server.weights[:7] = value
    federated.broadcast()
    now, *older = federated.payload[:-1]
    assert len(older) == 2 and all(bool((version[:7] == value).all()) for version in (now, *older))
    for version, was in zip(older, before, strict=True):
        assert torch.equal(version[7:], was[7:] if value == 0 else now[7:])
