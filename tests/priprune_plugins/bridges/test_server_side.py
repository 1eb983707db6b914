"""What the server does with state dicts, whoever averages them."""

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from priprune_plugins import Reconstruction, Server, Upload, hookimpl
from priprune_plugins.bridges.client_side import ClientSide
from priprune_plugins.bridges.server_side import ServerSide
from priprune_plugins.bridges.state_dicts import flat_of, unpacked
from priprune_plugins.errors import RunError, ScenarioError
from priprune_plugins.plugins import PluginHost, Registered

MAGNITUDE, LARGEST = {"name": "magnitude", "rate": 0.5}, {"name": "largest", "rate": 0.3}


def test_a_broadcast_is_pruned_and_carries_round_and_mask(foreign: Any) -> None:
    server = ServerSide(foreign.setting({"pruner": MAGNITUDE}))
    parcel = unpacked(server.start_round(4))
    weights = flat_of(parcel.state, server.server.layout)
    assert int(parcel.beside["round"]) == 4
    assert torch.equal(parcel.beside["mask"], server.server.mask)
    assert not bool(weights[~server.server.mask].any())


def test_a_coordinate_that_nobody_sent_keeps_the_servers_dense_weight(foreign: Any) -> None:
    setting = foreign.setting({"pruner": MAGNITUDE, "defenses": [LARGEST]})
    server = ServerSide(setting)
    before = server.server.weights.clone()
    trained, state = foreign.client(ClientSide(setting), server.start_round(0), 0, foreign.batches())
    ((_, filled),) = server.receive([(16, state)])
    server.aggregated(filled)
    assert torch.equal(server.server.weights[~trained.present], before[~trained.present])
    assert not torch.equal(server.server.weights, before)


def test_where_everything_is_sent_the_framework_averages_the_very_tensors_that_came(foreign: Any) -> None:
    setting = foreign.setting({})
    server = ServerSide(setting)
    _, state = foreign.client(ClientSide(setting), server.start_round(0), 0, foreign.batches())
    ((amount, handed),) = server.receive([(16, state)])
    assert amount == 16
    assert all(handed[name] is state[name] for name in handed)
    assert set(handed) == set(setting.state)


def test_counters_of_a_mean_are_rounded(foreign: Any) -> None:
    server = ServerSide(foreign.setting({}))
    state = OrderedDict(server.state())
    server._state["counter"] = torch.tensor(3)
    assert server.aggregated({**state, "counter": torch.tensor(6.9999)})["counter"].item() == 7


def test_an_upload_that_is_not_finite_stops_the_run(foreign: Any) -> None:
    setting = foreign.setting({})
    server = ServerSide(setting)
    _, state = foreign.client(ClientSide(setting), server.start_round(0), 2, foreign.batches())
    state["0.bias"][0] = float("nan")
    with pytest.raises(RunError, match="round 0, client 2"):
        server.receive([(16, state)])


def test_an_upload_of_another_round_or_of_a_stock_client_is_refused(foreign: Any) -> None:
    setting = foreign.setting({})
    server = ServerSide(setting)
    _, state = foreign.client(ClientSide(setting), server.start_round(0), 2, foreign.batches())
    with pytest.raises(ScenarioError, match="names no client"):
        server.receive([(16, unpacked(state).state)])
    server.start_round(1)
    with pytest.raises(RunError, match="round 0 in round 1"):
        server.receive([(16, state)])


@dataclass(frozen=True, eq=False)
class Watch:
    """Keeps what it is shown."""

    seen: list[Upload] = field(default_factory=list)

    @hookimpl
    def on_server_receive(self, server: Server, upload: Upload) -> None:
        self.seen.append(upload)


class WatchingAttack(Watch):
    """The same as an attack, which must give a result."""

    @hookimpl
    def reconstruct(self, observations: Any) -> list[Reconstruction]:
        return []


def test_attackers_see_a_withheld_coordinate_as_0_and_pruners_see_which_were_sent(foreign: Any) -> None:
    setting, pruner, attacker = foreign.setting({"defenses": [LARGEST]}), Watch(), WatchingAttack()
    watching = [Registered("pruners", "pruner", "pruner:w", pruner), Registered("attacks", "attack", "a:w", attacker)]
    server = ServerSide(replace(setting, host=PluginHost(watching)))
    trained, state = foreign.client(ClientSide(setting), server.start_round(0), 1, foreign.batches())
    server.receive([(16, state)])
    withheld = ~trained.upload.shared
    assert torch.equal(pruner.seen[0].shared, ~withheld)
    assert attacker.seen[0].shared is None
    assert not bool(attacker.seen[0].weights[withheld].any())
    assert torch.equal(attacker.seen[0].weights[~withheld], trained.upload.weights[~withheld])
