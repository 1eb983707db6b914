"""What a round makes of coordinates that its clients opened again."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from priprune_plugins import Client, Server, hookimpl
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.federation import Federation


def test_a_reopened_coordinate_becomes_the_mean_of_what_was_sent(
    federation: Callable[..., Federation], algorithm: Algorithm
) -> None:
    @dataclass(frozen=True, eq=False)
    class Reopen:
        @hookimpl
        def on_round_start(self, server: Server) -> None:
            server.mask = torch.arange(server.layout.num_parameters) % 2 == 0

        @hookimpl
        def on_local_train_start(self, client: Client) -> None:
            client.mask = torch.ones(client.layout.num_parameters, dtype=torch.bool)

    federated = federation(algorithm, pruner=Reopen(), weighting="uniform")
    federated.start_round(0)
    received = federated.train([1, 2])
    mean = torch.stack([sent.upload.weights for sent in received]).mean(0)
    federated.aggregate(received)
    assert torch.allclose(federated.server.weights, mean, atol=1e-6)
