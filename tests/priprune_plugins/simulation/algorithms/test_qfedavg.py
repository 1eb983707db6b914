"""q-FedAvg by hand: the loss that is reported, and the step that Algorithm 2 makes of it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from priprune_plugins import Client, ScenarioError, Upload, hookimpl
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.qfedavg import QFedAvg, h
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

Build = Callable[..., Federation]
OneRound = Callable[[Federation, int], list[Sent]]


def losses_at(problem: Any, w: Tensor) -> Tensor:
    """Cross-entropy of what the point model gives for each client's image, which the host measures losses by."""
    outputs = w - problem.c
    return outputs.logsumexp(1) - outputs.gather(1, problem.a.long()).squeeze(1)


def algorithm_2(problem: Any, q: float, rounds: int) -> Tensor:
    """The paper's Algorithm 2 in float64, one local step: Delta_k and h_k as they are printed, ``L = 1 / lr``."""
    w, lipschitz = problem.w, 1 / problem.lr
    for _ in range(rounds):
        losses = losses_at(problem, w)
        ways = [lipschitz * (w - (w - problem.lr * problem.gradient(k, w))) for k in range(3)]
        deltas = [losses[k] ** q * ways[k] for k in range(3)]
        hs = [q * losses[k] ** (q - 1) * ways[k].square().sum() + lipschitz * losses[k] ** q for k in range(3)]
        w = w - sum(deltas) / sum(hs)
    return w


@pytest.mark.parametrize("q", [0.0, 0.5, 1.0, 3.0])
def test_three_rounds_are_those_of_algorithm_2(quadratic: Build, one_round: OneRound, problem: Any, q: float) -> None:
    federated = quadratic(QFedAvg(q=q))
    for round_idx in range(3):
        one_round(federated, round_idx)
    torch.testing.assert_close(federated.server.weights.double(), algorithm_2(problem, q, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("weighting", ["samples", "uniform"])
def test_with_q_0_it_is_fedavg_bit_for_bit(federation: Build, one_round: OneRound, weighting: str) -> None:
    fair, plain = federation(QFedAvg(q=0), weighting=weighting), federation(FedAvg(), weighting=weighting)
    for round_idx in range(2):
        one_round(fair, round_idx)
        one_round(plain, round_idx)
    assert torch.equal(fair.server.weights, plain.server.weights)


def test_the_reported_loss_is_that_of_the_broadcast_on_all_own_images(federation: Build, one_round: OneRound) -> None:
    federated = federation(QFedAvg())
    for sent in one_round(federated, 0):
        images, labels = federated.setting.data.client(sent.upload.client_ids[0], "train")
        federated.runner.trainer.flat.copy_(sent.received)
        with torch.no_grad():
            expected = functional.cross_entropy(federated.runner.trainer.model(images), labels)
        torch.testing.assert_close(sent.upload.extras["loss"], expected.unsqueeze(0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("q", [0.5, 1.0, 5.0])
def test_the_papers_upload_gives_the_loss_and_the_update_away(federation: Build, one_round: OneRound, q: float) -> None:
    """``|Delta_k|`` and ``h_k`` alone: bisection above the minimum of h over the loss finds ``F_k``."""
    lipschitz = 10.0
    for sent in one_round(federation(QFedAvg(q=q)), 0):
        loss = float(sent.upload.extras["loss"])
        way = lipschitz * (sent.received - sent.upload.weights).double()
        delta, told = loss**q * way, h(loss, float(way.square().sum()), q, lipschitz)
        squared = float(delta.square().sum())
        low = ((q + 1) * squared / lipschitz) ** (1 / (2 * q + 1))
        high = 100.0
        for _ in range(200):
            middle = (low + high) / 2
            if h(middle, squared / middle ** (2 * q), q, lipschitz) < told:
                low = middle
            else:
                high = middle
        assert low == pytest.approx(loss, rel=1e-6)
        torch.testing.assert_close(delta / low**q / lipschitz, way / lipschitz, rtol=1e-6, atol=0)


def test_what_is_withheld_steers_nothing(federation: Build, one_round: OneRound) -> None:
    """A client that moves withheld coordinates by any amount changes neither the step nor its size."""

    class Withholds:
        def __init__(self, by: float) -> None:
            self.by = by

        @hookimpl
        def on_local_train_end(self, client: Client) -> None:
            client.weights[:1000] += self.by

        @hookimpl
        def before_upload(self, client: Client, upload: Upload) -> Upload:
            return upload.withhold(torch.arange(upload.weights.numel()) < 1000)

    ends = []
    for by in (0.0, 5.0):
        federated = federation(QFedAvg(), defense=Withholds(by))
        one_round(federated, 0)
        ends.append(federated.server.weights.clone())
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], federation().server.weights)


def test_sums_are_refused(federation: Build) -> None:
    class Sums:
        @hookimpl
        def sum_uploads(self, summands: Any) -> list[Any]:
            return []

    with pytest.raises(ScenarioError, match="qfedavg weighs each update by its client's own loss"):
        federation(QFedAvg(), defense=Sums())
