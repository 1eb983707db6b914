"""Batch-norm statistics under the three policies, on ResNet-18."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from priprune_plugins.generators import generator
from priprune_plugins.models.build import build_model
from priprune_plugins.models.resnet import ResNet18
from priprune_plugins.simulation.buffers import BufferKeeper
from priprune_plugins.simulation.federation import Federation


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return build_model(ResNet18(), (1, 14, 14), 10, (0.0,), (1.0,), "he", generator(0, "init"))


def run(federation: Callable[..., Federation], resnet: nn.Module, policy: str) -> Any:
    federated = federation(model=resnet, steps=1, buffers=policy)
    before = {name: value.clone() for name, value in federated.buffers.server.items()}
    ids = federated.start_round(0)[:3]
    received = federated.train(ids)
    federated.aggregate(received)
    return federated, before, received


def test_average_takes_the_weighted_mean_of_what_clients_send(
    federation: Callable[..., Federation], resnet: nn.Module
) -> None:
    federated, before, received = run(federation, resnet, "average")
    samples = [sent.upload.num_samples for sent in received]
    for name, value in federated.buffers.server.items():
        sent = [s.upload.buffers[name].double() for s in received]
        expected = sum(v * n for v, n in zip(sent, samples, strict=True)) / sum(samples)
        assert torch.allclose(value.double(), expected, atol=1e-6)
    moved = [name for name in before if name.endswith("running_mean")]
    assert any(not torch.equal(before[name], federated.buffers.server[name]) for name in moved)


def test_local_sends_nothing_and_keeps_each_clients_own(
    federation: Callable[..., Federation], resnet: nn.Module
) -> None:
    federated, before, received = run(federation, resnet, "local")
    assert all(not sent.upload.buffers for sent in received)
    assert all(torch.equal(before[name], value) for name, value in federated.buffers.server.items())
    kept = [federated.buffers.clients[sent.upload.client_ids[0]] for sent in received]
    name = next(name for name in before if name.endswith("running_mean"))
    assert not torch.equal(kept[0][name], kept[1][name])


def test_server_throws_the_clients_changes_away(federation: Callable[..., Federation], resnet: nn.Module) -> None:
    federated, before, received = run(federation, resnet, "server")
    assert all(not sent.upload.buffers for sent in received)
    assert not federated.buffers.clients
    assert all(torch.equal(before[name], value) for name, value in federated.buffers.server.items())


def test_every_client_starts_from_the_same_statistics(federation: Callable[..., Federation], resnet: nn.Module) -> None:
    # Stock FedLab lets one client's statistics flow into the next one's.
    federated = federation(model=resnet, steps=1)
    ids = federated.start_round(0)[:2]
    alone = federated.runner.run(federated.visit(ids[1])).upload.buffers
    federated.runner.run(federated.visit(ids[0]))
    after_another = federated.runner.run(federated.visit(ids[1])).upload.buffers
    assert all(torch.equal(alone[name], after_another[name]) for name in alone)


def test_server_estimates_on_public_data_at_its_own_weights(federation: Callable[..., Federation], data: Any) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    federated = federation(model=net, steps=1, buffers="server")
    federated.server.public = data.test
    federated.aggregate(federated.train(federated.start_round(0)[:3]))
    weights = federated.server.layout.unflatten(federated.server.weights)
    maps = nn.functional.conv2d(data.test.images, weights["0.weight"], weights["0.bias"])
    parts = torch.stack([part.mean((0, 2, 3)) for part in torch.split(maps, 256)])
    assert torch.allclose(federated.buffers.server["1.running_mean"], parts.mean(0), atol=1e-5)


def test_each_of_several_clients_that_are_dropped_at_once_gets_its_own_statistics_back() -> None:
    net = nn.BatchNorm1d(1)
    keeper = BufferKeeper("local", net)

    def finish(client_id: int, mean: float) -> None:
        net.running_mean.fill_(mean)
        keeper.finish(client_id, net, keep=True)

    for client_id in (1, 2):
        finish(client_id, float(client_id))
    for client_id in (1, 2, 3):
        finish(client_id, float("nan"))
    for client_id in (1, 2, 3):
        keeper.undo(client_id)
    assert {client: float(buffers["running_mean"]) for client, buffers in keeper.clients.items()} == {1: 1.0, 2: 2.0}
