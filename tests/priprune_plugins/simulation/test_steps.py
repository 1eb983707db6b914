"""The gradients of a step as plugins see them."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from priprune_plugins import Client, PluginError, hookimpl
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.fedprox import FedProx
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

OneRound = Callable[[Federation, int], list[Sent]]


def train(federation: Callable[..., Federation], algorithm: Algorithm, plugin: object) -> None:
    federated = federation(algorithm, defense=plugin, steps=2)
    federated.start_round(0)
    federated.train([1])


@pytest.mark.parametrize("algorithm", [FedAvg(), FedProx(mu=2.0)])
def test_the_gradient_by_layer_is_the_whole_one_cut(
    federation: Callable[..., Federation], algorithm: Algorithm
) -> None:
    seen: list[bool] = []

    @dataclass(frozen=True, eq=False)
    class Look:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            layers = [layer.clone() for layer in client.loss_grads]
            assert [layer.numel() for layer in layers] == list(client.layout.sizes)
            client.grad = torch.zeros_like(client.grad)
            seen.append(torch.equal(torch.cat(layers), client.loss_grad) and bool(client.loss_grad.any()))

    train(federation, algorithm, Look())
    assert seen == [True, True]


@pytest.mark.parametrize("whole", [True, False])
def test_writing_to_a_gradient_is_refused(federation: Callable[..., Federation], whole: bool) -> None:
    @dataclass(frozen=True, eq=False)
    class Writes:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            (client.loss_grad if whole else client.loss_grads[0]).zero_()

    with pytest.raises(PluginError, match=r"wrote to client\.loss_grad.* in on_local_step, which is read-only"):
        train(federation, FedAvg(), Writes())


def test_on_local_step_shows_the_gradient_of_the_plain_loss(federation: Callable[..., Federation]) -> None:
    errors: list[float] = []

    @dataclass(frozen=True, eq=False)
    class Compare:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            images, labels = client.batches[client.step_idx]
            parameters = list(client.model.parameters())
            loss = nn.functional.cross_entropy(client.model(images), labels)
            exact = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters)])
            errors.append(float((client.loss_grad - exact).abs().max()))

    for algorithm in (FedAvg(), FedProx(mu=2.0)):
        federated = federation(algorithm, defense=Compare(), steps=3)
        federated.start_round(0)
        federated.train([1])
    assert len(errors) == 6
    assert max(errors) < 1e-6


def test_scaffolds_plain_gradient_is_read_before_its_correction(
    federation: Callable[..., Federation], one_round: OneRound
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    @dataclass(frozen=True, eq=False)
    class Keep:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            seen.append((client.loss_grad.clone(), client.grad.clone()))

    federated = federation(Scaffold(), defense=Keep(), steps=1)
    one_round(federated, 0)
    seen.clear()
    trained_before = set(federated.states.clients.known())
    client_id = next(chosen for chosen in federated.start_round(1) if chosen in trained_before)
    correction = federated.handler.global_c - federated.states.algorithm(client_id)["c"]
    federated.train([client_id])
    assert correction.abs().max() > 0
    assert torch.allclose(seen[0][1], seen[0][0] + correction, atol=1e-6)


def test_an_edited_gradient_is_what_the_optimiser_uses(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class Ones:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            client.grad = torch.ones_like(client.grad)

    federated = federation(defense=Ones(), steps=3)
    federated.start_round(0)
    (sent,) = federated.train([1])
    assert torch.allclose(sent.received - sent.upload.weights, torch.full_like(sent.received, 0.3), atol=1e-6)
