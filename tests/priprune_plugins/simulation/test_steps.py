"""The gradients of a step as plugins see them."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from priprune_plugins import Client, PluginError, hookimpl
from priprune_plugins.plugins import Registered
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.fedprox import FedProx
from priprune_plugins.simulation.federation import Federation


def train(federation: Callable[..., Federation], algorithm: Algorithm, plugin: object) -> None:
    federated = federation(algorithm, (Registered("defenses", "d", "defenses[0]:d", plugin),), steps=2)
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
