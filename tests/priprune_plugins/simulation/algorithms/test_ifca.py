"""IFCA: who chooses which model, what is averaged, and how one vector of the server's stands for all."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from priprune_plugins import Client, ScenarioError, Server, Upload, hookimpl
from priprune_plugins.masks import applied
from priprune_plugins.plugins import Registered
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.ifca import IFCA
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

Build = Callable[..., Federation]
OneRound = Callable[[Federation, int], list[Sent]]


def loss(problem: Any, w: Tensor, k: int) -> float:
    output = w - problem.c[k]
    return float(output.logsumexp(0) - output[int(problem.a[k])])


def algorithm_1(problem: Any, models: Tensor, rounds: int) -> Tensor:
    """The paper's Algorithm 1, option II, in float64, with one local step."""
    for _ in range(rounds):
        chosen = [min(range(len(models)), key=lambda j, k=k: loss(problem, models[j], k)) for k in range(3)]
        trained = [models[chosen[k]] - problem.lr * problem.gradient(k, models[chosen[k]]) for k in range(3)]
        for j in set(chosen):
            members = [trained[k] for k in range(3) if chosen[k] == j]
            models = models.clone()
            models[j] = sum(members) / len(members)
    return models


@pytest.mark.parametrize("clusters", [2, 3])
def test_three_rounds_are_those_of_algorithm_1(
    quadratic: Build, one_round: OneRound, problem: Any, clusters: int
) -> None:
    federated = quadratic(IFCA(clusters=clusters))
    begun = federated.handler.models.double()
    chosen = set()
    for round_idx in range(3):
        chosen |= {int(sent.upload.extras["cluster"]) for sent in one_round(federated, round_idx)}
    assert len(chosen) > 1
    expected = algorithm_1(problem, begun, 3)
    torch.testing.assert_close(federated.handler.models.double(), expected, rtol=0, atol=1e-6)


def test_the_models_begin_with_the_same_numbers_in_each_layer_and_in_another_order(federation: Build) -> None:
    federated = federation(IFCA(clusters=3))
    first, *others = federated.handler.models
    assert torch.equal(first, federation().server.weights)
    for other in others:
        for layer, shuffled in zip(
            federated.server.layout.layers(first), federated.server.layout.layers(other), strict=True
        ):
            assert torch.equal(layer.sort().values, shuffled.sort().values) and not torch.equal(layer, shuffled)
    assert not torch.equal(*others)


def test_a_client_takes_the_model_with_the_lowest_loss_on_its_own_images(
    federation: Build, one_round: OneRound
) -> None:
    federated = federation(IFCA(clusters=3))
    one_round(federated, 0)
    model = federated.runner.trainer.model
    for sent in federated.train(federated.start_round(1)):
        images, labels = federated.setting.data.client(sent.upload.client_ids[0], "train")
        losses = []
        for weights in federated.handler.models:
            federated.runner.trainer.flat.copy_(weights)
            with torch.no_grad():
                losses.append(float(functional.cross_entropy(model(images), labels)))
        best = min(range(3), key=losses.__getitem__)
        assert int(sent.upload.extras["cluster"]) == best
        assert torch.equal(sent.received, federated.handler.models[best])


@dataclass(frozen=True, eq=False)
class Meddles:
    """Prunes and withholds."""

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        server.mask = torch.arange(server.layout.num_parameters) % 4 != 0

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload:
        places = torch.arange(upload.weights.numel()) + client.client_id
        return upload.withhold((places % 3 == 0) | (torch.arange(upload.weights.numel()) < 6))


MEDDLES = (Registered("defenses", "m", "defenses[0]:m", Meddles()),)


@pytest.mark.parametrize("absent", ["previous", "holders"])
def test_each_model_is_averaged_apart_under_a_mask_and_a_defence(
    federation: Build, one_round: OneRound, absent: str
) -> None:
    federated = federation(IFCA(clusters=3), MEDDLES, absent=absent)
    one_round(federated, 0)
    before = federated.handler.models.clone()
    received = one_round(federated, 1)
    chosen = [int(sent.upload.extras["cluster"]) for sent in received]
    assert len(set(chosen)) > 1
    for j, model in enumerate(federated.handler.models):
        mine = [sent for sent, choice in zip(received, chosen, strict=True) if choice == j]
        torch.testing.assert_close(model, _mean(mine, before[j], absent), rtol=0, atol=1e-6)


def _mean(received: list[Sent], before: Tensor, absent: str) -> Tensor:
    if not received:
        return before
    counts = torch.tensor([sent.upload.num_samples for sent in received], dtype=torch.float64).unsqueeze(1)
    sent = torch.stack([one.present for one in received])
    values = torch.stack([one.upload.weights for one in received]).double()
    if absent == "previous":
        return ((counts * torch.where(sent, values, before.double())).sum(0) / counts.sum()).float()
    held = (counts * sent).sum(0)
    return torch.where(held > 0, (counts * sent * values).sum(0) / held.clamp_min(1e-9), before.double()).float()


def test_the_servers_weights_are_the_model_that_most_clients_chose(federation: Build, one_round: OneRound) -> None:
    federated = federation(IFCA(clusters=3))
    last: dict[int, int] = {}
    for round_idx in range(3):
        last |= {s.upload.client_ids[0]: int(s.upload.extras["cluster"]) for s in one_round(federated, round_idx)}
        counts = [list(last.values()).count(j) for j in range(3)]
        leading = counts.index(max(counts))
        assert torch.equal(federated.server.weights, federated.handler.models[leading])


def test_all_models_are_sent_and_counted_and_pruned(federation: Build) -> None:
    federated, plain = federation(IFCA(clusters=3), MEDDLES), federation(FedAvg(), MEDDLES)
    for one in (federated, plain):
        one.start_round(0)
    assert len(federated.payload) == 3
    for sent, model in zip(federated.payload, federated.handler.models, strict=True):
        assert torch.equal(sent, applied(model, federated.server.mask)) and not sent[::4].any()
    mask = -(-federated.server.layout.num_parameters // 8)
    assert federated.bytes_down() - mask == 3 * (plain.bytes_down() - mask)


def test_zeros_that_a_pruner_sets_are_set_in_every_model_and_anything_else_is_refused(
    federation: Build, one_round: OneRound
) -> None:
    @dataclass(frozen=True, eq=False)
    class Sets:
        value: float

        @hookimpl
        def on_aggregate_end(self, server: Server) -> None:
            server.weights[:50] = self.value

    federated = federation(IFCA(clusters=3), (Registered("pruners", "s", "pruner:s", Sets(0.0)),))
    one_round(federated, 0)
    federated.start_round(1)
    assert not federated.handler.models[:, :50].any() and federated.handler.models[:, 50:].any(1).all()
    refused = federation(IFCA(clusters=3), (Registered("pruners", "s", "pruner:s", Sets(0.5)),))
    one_round(refused, 0)
    with pytest.raises(ScenarioError, match=r"ifca: a plugin has set server.weights.*magnitude: rewind: false"):
        refused.start_round(1)


def test_clients_of_two_kinds_find_each_other(federation: Build, data: Any, one_round: OneRound) -> None:
    """Every other client's labels are turned around: one model cannot serve both, two can."""

    class Turned:
        def __getattr__(self, name: str) -> Any:
            return getattr(data, name)

        def client(self, client_id: int, split: Any) -> tuple[Tensor, Tensor]:
            images, labels = data.client(client_id, split)
            return images, 9 - labels if client_id % 2 else labels

    accuracies = {}
    for name, algorithm in (("ifca", IFCA(clusters=2)), ("fedavg", FedAvg())):
        federated = federation(algorithm, steps=5)
        setting = replace(federated.setting, data=Turned(), rounds=12)
        federated = Federation(setting)
        for round_idx in range(12):
            received = one_round(federated, round_idx)
        accuracies[name] = sum(federated.test_client(c).accuracy for c in range(12)) / 12
        if name == "ifca":
            kinds = {(sent.upload.client_ids[0] % 2, int(sent.upload.extras["cluster"])) for sent in received}
            assert len(kinds) == 2
    assert accuracies["ifca"] > accuracies["fedavg"] + 0.15


def test_sums_are_refused(federation: Build) -> None:
    class Sums:
        @hookimpl
        def sum_uploads(self, summands: Any) -> list[Any]:
            return []

    with pytest.raises(ScenarioError, match="ifca averages each chosen model apart"):
        federation(IFCA(), (Registered("defenses", "s", "defenses[0]:s", Sums()),))
