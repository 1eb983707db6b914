"""What a round asks of its clients, refuses of its plugins, and holds of the uploads."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from priprune_plugins import Client, PluginError, Server, hookimpl
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent


def test_a_round_holds_no_more_than_the_aggregation_needs(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class Talks:
        @hookimpl
        def on_local_train_start(self, client: Client) -> None:
            client.weights.mul_(0.5)
            client.send("scores", client.weights.abs())

    federated = federation(defense=Talks())
    seen: list[Sent] = []
    received = federated.train(federated.start_round(0), seen.append)
    size = federated.server.layout.num_parameters
    assert all(set(sent.upload.extras) == {"scores"} and sent.start is not sent.received for sent in seen)
    assert all(not sent.upload.extras and sent.start is sent.received for sent in received)
    assert federated.traffic(received)[0] == len(received) * 2 * 4 * size  # let go, and counted all the same


def test_editing_the_mask_in_place_is_refused(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class InPlace:
        @hookimpl
        def on_round_start(self, server: Server) -> None:
            server.mask = torch.ones(server.layout.num_parameters, dtype=torch.bool)

        @hookimpl
        def on_local_train_end(self, client: Client) -> None:
            assert client.mask is not None
            client.mask[:5] = False

    federated = federation(pruner=InPlace())
    federated.start_round(0)
    with pytest.raises(PluginError, match=r"wrote to client\.mask in on_local_train_end, which is read-only"):
        federated.train([1])


def test_what_is_behind_an_upload_is_asked_for_only_where_it_is_kept(federation: Callable[..., Federation]) -> None:
    federated = federation(steps=1)
    ids = federated.start_round(0)[:3]
    asked: list[tuple[int, bool]] = []
    shown: list[int] = []
    run = federated.crew.run

    def noting(visits: Any) -> Any:
        asked.extend((visit.client_id, visit.observed) for visit in visits)
        return run(visits)

    federated.crew = SimpleNamespace(run=noting)
    federated.train(ids, lambda sent: shown.extend(sent.upload.client_ids), ids[1:2])
    assert asked == [(ids[0], False), (ids[1], True), (ids[2], False)] and shown == [ids[1]]
