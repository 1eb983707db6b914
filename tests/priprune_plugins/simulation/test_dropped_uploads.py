"""An upload that holds NaN is dropped and counted, and leaves no trace in anybody's memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch

from priprune_plugins import Client, RunError, Upload, hookimpl
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

OneRound = Callable[[Federation, int], list[Sent]]


@dataclass(frozen=True, eq=False)
class Poison:
    """Client 4 sends NaN in its first coordinate, withheld or not."""

    withheld: bool = False

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload | None:
        if client.client_id != 4:
            return None
        weights = upload.weights.clone()
        weights[0] = torch.nan
        poisoned = replace(upload, weights=weights)
        return poisoned.withhold(torch.arange(weights.numel()) == 0) if self.withheld else poisoned


def test_a_nan_upload_is_dropped_and_never_averaged(federation: Callable[..., Federation]) -> None:
    federated = federation(defense=Poison())
    federated.start_round(0)
    received = federated.train([2, 4, 5])
    federated.aggregate(received)
    assert [sent.upload.client_ids for sent in received] == [(2,), (5,)]
    assert torch.isfinite(federated.server.weights).all()


def test_a_nan_that_is_not_sent_is_nobodys_business(federation: Callable[..., Federation]) -> None:
    federated = federation(defense=Poison(withheld=True))
    federated.start_round(0)
    received = federated.train([2, 4])
    federated.aggregate(received)
    assert len(received) == 2
    assert torch.isfinite(federated.server.weights).all()


def test_a_round_without_any_upload_keeps_the_weights(federation: Callable[..., Federation]) -> None:
    federated = federation(defense=Poison())
    before = federated.server.weights.clone()
    federated.start_round(0)
    federated.aggregate(federated.train([4]))
    assert torch.equal(federated.server.weights, before)


def test_a_nan_upload_stops_the_run_where_the_scenario_says_so(federation: Callable[..., Federation]) -> None:
    federated = federation(defense=Poison(), nonfinite="stop")
    federated.start_round(0)
    with pytest.raises(RunError, match="round 0, client 4: the upload holds NaN"):
        federated.train([2, 4])


def test_a_dropped_upload_does_not_shrink_the_rounds_to_come(
    federation: Callable[..., Federation], algorithm: Algorithm
) -> None:
    federated = federation(algorithm, defense=Poison())
    federated.start_round(0)
    federated.aggregate(federated.train([2, 4, 5]))
    assert len(federated.sampled(1)) == 10


def test_a_dropped_client_remembers_nothing_of_its_bad_round(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class Diverge:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            if client.client_id == 4 and client.round_idx == 0:
                client.grad = torch.full_like(client.grad, torch.nan)
            client.state(self)["seen"] = client.grad.clone()

    federated = federation(Scaffold(), defense=Diverge())
    federated.start_round(0)
    received = federated.train([2, 4])
    assert [sent.upload.client_ids for sent in received] == [(2,)]
    assert list(federated.states.clients.known()) == [2]
    federated.aggregate(received)
    federated.start_round(1)
    assert len(federated.train([4])) == 1
