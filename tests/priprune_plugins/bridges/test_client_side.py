"""What a client sends from inside somebody else's training loop."""

from typing import Any

import pytest
import torch

from priprune_plugins.bridges.client_side import ClientSide
from priprune_plugins.bridges.server_side import ServerSide
from priprune_plugins.bridges.state_dicts import flat_of, unpacked
from priprune_plugins.errors import ScenarioError

MAGNITUDE, LARGEST = {"name": "magnitude", "rate": 0.5}, {"name": "largest", "rate": 0.3}


def test_what_is_withheld_or_pruned_has_the_received_value_in_the_state_dict(foreign: Any) -> None:
    setting = foreign.setting({"pruner": MAGNITUDE, "defenses": [LARGEST]})
    broadcast = ServerSide(setting).start_round(0)
    trained, state = foreign.client(ClientSide(setting), broadcast, 0, foreign.batches())
    absent, layout = ~trained.present, setting.facts.layout
    on_wire, received = flat_of(state, layout), flat_of(broadcast, layout)
    assert torch.equal(on_wire[absent], received[absent])
    assert bool((received[absent] != 0).any())
    assert torch.equal(on_wire[trained.present], trained.upload.weights[trained.present])


def test_a_loop_without_a_torch_optimiser_is_refused(foreign: Any) -> None:
    setting = foreign.setting({})
    broadcast = ServerSide(setting).start_round(0)
    with pytest.raises(ScenarioError, match="no step of a torch optimiser"):
        foreign.client(ClientSide(setting), broadcast, 0, foreign.batches(), loop=lambda model, batches: None)


def test_a_loop_that_replaces_parameters_is_refused(foreign: Any) -> None:
    def loop(model: Any, batches: Any) -> None:
        foreign.loop(model, batches)
        model.double()

    setting = foreign.setting({})
    with pytest.raises(ScenarioError, match="moved or replaced"):
        foreign.client(ClientSide(setting), ServerSide(setting).start_round(0), 0, foreign.batches(), loop=loop)


def test_a_broadcast_of_a_stock_server_is_refused(foreign: Any) -> None:
    setting = foreign.setting({})
    stock = unpacked(ServerSide(setting).start_round(0)).state
    with pytest.raises(ScenarioError, match="names no round"):
        foreign.client(ClientSide(setting), stock, 0, foreign.batches())


def test_a_plugin_that_wants_validation_accuracy_is_told_where_it_works(foreign: Any) -> None:
    setting = foreign.setting({"pruner": {"name": "lotteryfl", "rate": 0.5}})
    with pytest.raises(ScenarioError, match="priprune run"):
        foreign.client(ClientSide(setting), ServerSide(setting).start_round(0), 0, foreign.batches())
