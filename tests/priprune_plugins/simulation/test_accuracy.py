"""What loss and accuracy are measured of, and that measuring leaves no trace."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from priprune_plugins import Client, Server, hookimpl
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

OneRound = Callable[[Federation, int], list[Sent]]


def test_personal_weights_are_what_a_clients_accuracy_is_measured_with(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class AlwaysZero:
        @hookimpl
        def on_client_evaluate(self, client: Client) -> None:
            client.weights = torch.zeros_like(client.weights)

    federated = federation(defense=AlwaysZero())
    federated.start_round(0)
    labels = federated.setting.data.client(3, "test")[1]
    assert federated.test_client(3).accuracy == pytest.approx(float((labels == 0).float().mean()))


def test_pruned_coordinates_are_zero_in_a_clients_evaluated_model(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class Stale:
        @hookimpl
        def on_round_start(self, server: Server) -> None:
            server.mask = torch.arange(server.layout.num_parameters) % 2 == 0

        @hookimpl
        def on_client_evaluate(self, client: Client) -> None:
            client.weights = torch.ones_like(client.weights)

    federated = federation(pruner=Stale())
    federated.start_round(0)
    federated.test_client(3)
    assert not federated.runner.trainer.flat[1::2].any()
    assert federated.runner.trainer.flat[::2].all()


def test_a_test_leaves_no_trace_in_the_training(
    federation: Callable[..., Federation], algorithm: Algorithm, one_round: OneRound
) -> None:
    plain, tested = federation(algorithm), federation(algorithm)
    for round_idx in range(2):
        one_round(plain, round_idx)
        tested.test()
        tested.test_client(0)
        one_round(tested, round_idx)
    assert torch.equal(plain.server.weights, tested.server.weights)
