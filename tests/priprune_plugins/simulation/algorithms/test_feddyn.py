"""FedDyn on a quadratic problem solved by hand, and its memories under everything that changes an upload."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from priprune_plugins import Client, ScenarioError, Server, Upload, hookimpl
from priprune_plugins.plugins import Registered
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.feddyn import FedDyn
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.summands import GroupSum

Build = Callable[..., Federation]
OneRound = Callable[[Federation, int], list[Sent]]
ALPHA = 0.5


def algorithm_1(problem: Any, rounds: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """The paper's Algorithm 1 in float64, its argmin by gradient steps: the model, h, and the clients' memories."""
    w, h = problem.w, torch.zeros(4, dtype=torch.float64)
    memories = torch.zeros_like(problem.c)
    for _ in range(rounds):
        locals_ = []
        for k in range(3):
            local = w.clone()
            for _ in range(steps):
                local = local - problem.lr * (problem.gradient(k, local) - memories[k] + ALPHA * (local - w))
            memories[k] -= ALPHA * (local - w)
            locals_.append(local)
        h = h - ALPHA / 3 * sum(local - w for local in locals_)
        w = sum(locals_) / 3 - h / ALPHA
    return w, h, memories


def memories_of(federated: Federation, clients: int) -> Tensor:
    zeros = torch.zeros_like(federated.server.weights)
    return torch.stack([federated.states.algorithm(k).get("gradient", zeros) for k in range(clients)])


@pytest.mark.parametrize("steps", [1, 3])
def test_three_rounds_are_those_of_algorithm_1(quadratic: Build, one_round: OneRound, problem: Any, steps: int) -> None:
    federated = quadratic(FedDyn(alpha=ALPHA), steps)
    for round_idx in range(3):
        one_round(federated, round_idx)
    w, h, memories = algorithm_1(problem, 3, steps)
    torch.testing.assert_close(federated.server.weights.double(), w, rtol=0, atol=1e-6)
    torch.testing.assert_close(federated.handler.h.double(), h, rtol=0, atol=1e-6)
    torch.testing.assert_close(memories_of(federated, 3).double(), memories, rtol=0, atol=1e-6)


def test_it_ends_at_the_minimum_of_the_mean_loss_where_fedavg_does_not(
    quadratic: Build, one_round: OneRound, problem: Any
) -> None:
    optimum = (problem.a * problem.c).sum(0) / problem.a.sum()
    off = {}
    for name, algorithm in (("fedavg", FedAvg()), ("feddyn", FedDyn(alpha=ALPHA))):
        federated = quadratic(algorithm, steps=40)
        for round_idx in range(60):
            one_round(federated, round_idx)
        off[name] = float((federated.server.weights - optimum).abs().max())
    # With its local minima found FedAvg ends at the mean of the centres.
    assert off["fedavg"] == pytest.approx(float((problem.c.mean(0) - optimum).abs().max()), rel=0.02)
    assert off["feddyn"] < 1e-4
    # There the memories are the clients' own gradients, whose mean is 0.
    own = torch.stack([problem.gradient(k, optimum) for k in range(3)])
    torch.testing.assert_close(memories_of(federated, 3).double(), own, rtol=0, atol=1e-3)


@dataclass(frozen=True, eq=False)
class Meddles:
    """Prunes, withholds, composes a start, re-opens, or makes noise, in another place each round."""

    prune: bool = False
    withhold: bool = False
    compose: bool = False
    reopen: bool = False
    noise: bool = False

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        if self.prune:
            server.mask = (torch.arange(server.layout.num_parameters) + server.round_idx) % 4 != 0

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        if self.compose:
            client.weights[::7] += 0.01
        if self.reopen and client.client_id % 2:
            client.mask = torch.ones_like(client.layout.prunable)

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload:
        if self.noise:
            noise = torch.randn(upload.weights.shape, generator=client.generator(self))
            upload = replace(upload, weights=upload.weights + 0.01 * noise)
        if self.withhold:
            places = torch.arange(upload.weights.numel()) + client.client_id + client.round_idx
            upload = upload.withhold(places % 3 == 0)
        return upload


def meddling(**what: bool) -> tuple[Registered, ...]:
    return (Registered("defenses", "m", "defenses[0]:m", Meddles(**what)),)


@pytest.mark.parametrize("absent", ["previous", "holders", "zeros"])
@pytest.mark.parametrize(
    "what",
    [
        {},
        {"noise": True},
        {"compose": True},
        {"prune": True, "withhold": True},
        {"prune": True, "reopen": True, "withhold": True, "compose": True, "noise": True},
    ],
    ids="-".join,
)
def test_h_stays_the_mean_of_all_memories(
    federation: Build, one_round: OneRound, what: dict[str, bool], absent: str
) -> None:
    federated = federation(FedDyn(alpha=ALPHA), meddling(**what), absent=absent)
    for round_idx in range(3):
        one_round(federated, round_idx)
    memories = memories_of(federated, 12)
    assert memories.abs().max() > 1e-3
    torch.testing.assert_close(federated.handler.h, memories.mean(0), rtol=0, atol=2e-7)


def test_a_memory_is_what_the_server_computes_from_what_was_sent(federation: Build, one_round: OneRound) -> None:
    federated = federation(FedDyn(alpha=ALPHA), meddling(prune=True, withhold=True, compose=True))
    computed = torch.zeros(12, federated.server.layout.num_parameters)
    for round_idx in range(3):
        for sent in one_round(federated, round_idx):
            (client_id,) = sent.upload.client_ids
            computed[client_id] -= ALPHA * (sent.upload.weights - sent.received).masked_fill(~sent.present, 0.0)
    torch.testing.assert_close(memories_of(federated, 12), computed, rtol=0, atol=1e-6)


def test_the_offset_told_to_attackers_leaves_the_plain_gradient(federation: Build, one_round: OneRound) -> None:
    algorithm = FedDyn(alpha=ALPHA)
    gradients: dict[int, Tensor] = {}

    @dataclass(frozen=True, eq=False)
    class Watch:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            gradients[client.client_id] = client.loss_grad.clone()

    federated = federation(algorithm, (Registered("trackers", "w", "trackers[0]:w", Watch()),), steps=1)
    one_round(federated, 0)
    seen: list[Sent] = []
    federated.train(federated.start_round(1), seen.append)
    again = [sent for sent in seen if sent.offset is not None]
    assert len(again) >= 8  # who took part in round 0 too
    for sent in again:
        assert sent.offset.abs().max() > 1e-3
        plain = (sent.received - sent.upload.weights) / 0.1 - sent.offset
        # One step from the broadcast, where the pull is 0.
        torch.testing.assert_close(plain, gradients[sent.upload.client_ids[0]], rtol=0, atol=1e-6)


def test_a_coordinate_that_nobody_sent_keeps_its_value(federation: Build, one_round: OneRound) -> None:
    @dataclass(frozen=True, eq=False)
    class NoTenth:
        @hookimpl
        def before_upload(self, client: Client, upload: Upload) -> Upload | None:
            return upload.withhold(torch.arange(upload.weights.numel()) % 10 == 0) if client.round_idx else None

    federated = federation(FedDyn(alpha=ALPHA), defense=NoTenth())
    one_round(federated, 0)
    before = federated.server.weights.clone()
    one_round(federated, 1)
    assert federated.handler.h[::10].abs().max() > 0
    assert torch.equal(federated.server.weights[::10], before[::10])


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums in the open."""

    @hookimpl
    def sum_uploads(self, summands: Any) -> list[GroupSum]:
        def total(name: str) -> Tensor:
            return sum(one.vectors[name].double() * one.factors.get(name, 1.0) for one in summands)

        ids = tuple(one.client_id for one in summands)
        return [GroupSum(ids, {name: total(name) for name in summands[0].vectors}, item_bytes=8)]


def test_sums_give_the_same_model_and_h_where_they_are_unweighted(federation: Build, one_round: OneRound) -> None:
    sums = (*meddling(prune=True, withhold=True), Registered("defenses", "s", "defenses[1]:s", Sums()))
    plain = federation(FedDyn(), sums[:1], weighting="uniform")
    summed = federation(FedDyn(), sums, weighting="uniform")
    for round_idx in range(2):
        one_round(plain, round_idx)
        one_round(summed, round_idx)
    torch.testing.assert_close(summed.server.weights, plain.server.weights, rtol=0, atol=3e-7)
    torch.testing.assert_close(summed.handler.h, plain.handler.h, rtol=0, atol=1e-7)
    with pytest.raises(ScenarioError, match=r"feddyn's h is the unweighted mean.*set aggregation.weighting: uniform"):
        federation(FedDyn(), sums)
