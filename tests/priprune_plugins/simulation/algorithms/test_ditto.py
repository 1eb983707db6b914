"""Ditto's personal models on a quadratic problem by hand; what is sent stays FedAvg's."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_plugins import Client, Server, hookimpl
from priprune_plugins.plugins import Registered
from priprune_plugins.simulation.algorithms.ditto import Ditto
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

Build = Callable[..., Federation]
OneRound = Callable[[Federation, int], list[Sent]]
PULL = 0.5


def algorithm_1(problem: Any, rounds: int, steps: int, personal_lr: float) -> list[Tensor]:
    """The paper's Algorithm 1 in float64 with one local step of FedAvg; the clients' personal models."""
    w = problem.w
    personal = [problem.w for _ in range(3)]
    for _ in range(rounds):
        locals_ = [w - problem.lr * problem.gradient(k, w) for k in range(3)]
        for k in range(3):
            for _ in range(steps):
                v = personal[k]
                personal[k] = v - personal_lr * (problem.gradient(k, v) + PULL * (v - w))
        w = sum(locals_) / 3
    return personal


@pytest.mark.parametrize(("steps", "lr"), [(1, 0.1), (3, 0.05)])
def test_personal_models_are_those_of_algorithm_1(
    quadratic: Build, one_round: OneRound, problem: Any, steps: int, lr: float
) -> None:
    federated = quadratic(Ditto(pull=PULL, personal_steps=steps, personal_lr=lr), steps=1)
    federated.runner.trainer.personal_criterion = federated.runner.trainer.criterion
    for round_idx in range(3):
        one_round(federated, round_idx)
    for k, expected in enumerate(algorithm_1(problem, 3, steps, lr)):
        own = federated.states.algorithm(k)["personal"]
        torch.testing.assert_close(own.double(), expected, rtol=0, atol=1e-6)


@dataclass(frozen=True, eq=False)
class Watch:
    """Draws from a client's stream and keeps what it sees of each step."""

    steps: list[tuple[int, int, float]] = field(default_factory=list)

    @hookimpl
    def on_local_step(self, client: Client) -> None:
        self.steps.append((client.client_id, client.step_idx, float(client.loss_grad.sum())))


def net_with_chance() -> nn.Module:
    """Batch norm and dropout: whatever draws or counts one time too many shows."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(196), nn.Linear(196, 20), nn.Dropout(0.3), nn.Linear(20, 10))


@pytest.mark.parametrize(("steps", "epochs"), [(2, 1), (None, 2)])
def test_what_is_sent_is_fedavgs_bit_for_bit(
    federation: Build, one_round: OneRound, steps: int | None, epochs: int
) -> None:
    ends = []
    for algorithm in (FedAvg(), Ditto(pull=PULL, personal_steps=3)):
        watch = Watch()
        tracker = (Registered("trackers", "w", "trackers[0]:w", watch),)
        federated = federation(algorithm, tracker, model=net_with_chance(), steps=steps, epochs=epochs)
        received = [one for round_idx in range(2) for one in one_round(federated, round_idx)]
        ends.append((received, watch.steps, federated))
    (plain, steps_seen, fedavg), (ours, own_steps, ditto) = ends
    assert steps_seen == own_steps and len(steps_seen) > 0
    for one, other in zip(plain, ours, strict=True):
        assert torch.equal(one.upload.weights, other.upload.weights) and one.loss == other.loss
        assert all(torch.equal(one.upload.buffers[name], value) for name, value in other.upload.buffers.items())
    assert torch.equal(fedavg.server.weights, ditto.server.weights)
    assert fedavg.test() == ditto.test()


def test_a_client_is_measured_with_its_own_model_and_one_that_never_took_part_with_the_broadcast(
    federation: Build, one_round: OneRound
) -> None:
    federated = federation(Ditto(pull=0.0, personal_steps=60))
    received = one_round(federated, 0)
    took_part = {sent.upload.client_ids[0] for sent in received}
    (other, *_) = set(range(12)) - took_part
    measured: dict[int, Tensor] = {}

    @dataclass(frozen=True, eq=False)
    class Look:
        @hookimpl
        def on_client_evaluate(self, client: Client) -> None:
            measured[client.client_id] = client.weights.clone()

    looking = federation(Ditto(pull=0.0, personal_steps=60), (Registered("trackers", "l", "trackers[0]:l", Look()),))
    one_round(looking, 0)
    member = min(took_part)
    for client_id in (member, other):
        looking.test_client(client_id)
    assert torch.equal(measured[member], looking.states.algorithm(member)["personal"])
    assert torch.equal(measured[other], looking.server.weights)
    own, everybodys = (sum(f.test_client(c).accuracy for c in took_part) for f in (federated, _fedavg(federation)))
    assert own > everybodys


def _fedavg(federation: Build) -> Federation:
    federated = federation(FedAvg())
    federated.aggregate(federated.train(federated.start_round(0)))
    return federated


def test_personal_models_are_pruned_by_the_base_mask(federation: Build, one_round: OneRound) -> None:
    @dataclass(frozen=True, eq=False)
    class Half:
        @hookimpl
        def on_round_start(self, server: Server) -> None:
            server.mask = (torch.arange(server.layout.num_parameters) + server.round_idx) % 2 == 0

    federated = federation(Ditto(), pruner=Half())
    for round_idx in range(2):
        for sent in one_round(federated, round_idx):
            own = federated.states.algorithm(sent.upload.client_ids[0])["personal"]
            assert not own[~sent.mask].any() and own[sent.mask].any()


def test_nothing_but_fedavgs_upload_leaves(federation: Build, one_round: OneRound) -> None:
    (sent, *_) = one_round(federation(Ditto()), 0)
    assert dict(sent.upload.extras) == {} and len(sent.pack) == 1
