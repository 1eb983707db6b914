"""Pruned coordinates are exactly 0 wherever weights travel or are measured, whatever the algorithm does to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from priprune_plugins import Client, Server, Upload, hookimpl
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.federation import Federation

OneRound = Callable[[Federation, int], list[Any]]


@dataclass(frozen=True, eq=False)
class EverySecond:
    """Prunes every second parameter, biases too, so that every coordinate kind is covered."""

    shift: bool = False

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        offset = server.round_idx if self.shift else 0
        server.mask = (torch.arange(server.layout.num_parameters) + offset) % 2 == 0


@dataclass(frozen=True, eq=False)
class WithholdThirds:
    """Withholds every third coordinate."""

    @hookimpl
    def before_upload(self, upload: Upload) -> Upload:
        return upload.withhold(torch.arange(upload.weights.numel()) % 3 == 0)


@pytest.mark.parametrize("shift", [False, True])
def test_pruned_coordinates_are_zero_in_broadcast_upload_and_evaluated_model(
    federation: Callable[..., Federation], algorithm: Algorithm, one_round: OneRound, shift: bool
) -> None:
    federated = federation(algorithm, pruner=EverySecond(shift))
    for round_idx in range(3):
        received = one_round(federated, round_idx)
        mask = federated.server.mask
        assert mask is not None
        size = mask.numel()
        assert all(not element[~mask].any() for element in federated.payload if element.numel() == size)
        for sent in received:
            vectors = [sent.upload.weights, *sent.upload.extras.values()]
            assert all(not vector[~mask].any() for vector in vectors if vector.numel() == size)
        federated.test()
        assert not federated.runner.trainer.flat[~mask].any()
        assert federated.runner.trainer.flat[mask].any()


def test_the_server_keeps_dense_weights_where_nobody_sent(
    federation: Callable[..., Federation], algorithm: Algorithm, one_round: OneRound
) -> None:
    federated = federation(algorithm, pruner=EverySecond())
    before = federated.server.weights.clone()
    one_round(federated, 0)
    mask = federated.server.mask
    assert mask is not None
    assert torch.equal(federated.server.weights[~mask], before[~mask])
    assert not torch.equal(federated.server.weights[mask], before[mask])


def test_a_defence_withholds_from_the_aggregate(
    federation: Callable[..., Federation], algorithm: Algorithm, one_round: OneRound
) -> None:
    federated = federation(algorithm, defense=WithholdThirds())
    before = federated.server.weights.clone()
    received = one_round(federated, 0)
    withheld = torch.arange(before.numel()) % 3 == 0
    assert torch.equal(federated.server.weights[withheld], before[withheld])
    assert not torch.equal(federated.server.weights[~withheld], before[~withheld])
    assert received[0].withheld_rate == pytest.approx(float(withheld.float().mean()))


def test_the_mask_a_client_sets_at_the_end_of_training_reaches_its_upload(
    federation: Callable[..., Federation], algorithm: Algorithm, one_round: OneRound
) -> None:
    @dataclass(frozen=True, eq=False)
    class Personal:
        @hookimpl
        def on_local_train_end(self, client: Client) -> None:
            client.mask = torch.arange(client.layout.num_parameters) % 5 != client.client_id % 5

    federated = federation(algorithm, pruner=Personal())
    for sent in one_round(federated, 0):
        pruned = torch.arange(sent.upload.weights.numel()) % 5 == sent.upload.client_ids[0] % 5
        assert not sent.upload.weights[pruned].any()
        assert torch.equal(sent.present, ~pruned)
