"""Flower's own messages, contexts and FedAvg with the plugins; run by tests/frameworks/run.sh flower."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from priprune_plugins.bridges.client_side import ClientSide
from priprune_plugins.bridges.server_side import ServerSide
from priprune_plugins.errors import ScenarioError
from priprune_plugins.testing.federation import small_net

_REASON = "Flower has its own environment: tests/frameworks/run.sh flower"
flwr = pytest.importorskip("flwr.app", reason=_REASON)
clientapp = pytest.importorskip("flwr.clientapp", reason=_REASON)
identity = pytest.importorskip("flwr.supercore.task_identity", reason=_REASON)
bridge = pytest.importorskip("priprune_plugins.bridges.flower", reason=_REASON)

NODES, ROUNDS = (11, 22, 33), 2
PLUGINS = {
    "pruner": {"name": "prunefl", "rate": 0.3, "initial": "magnitude", "every": 1},
    "defenses": [{"name": "priprune"}],
}


@pytest.fixture(autouse=True)
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages name the run that they belong to, which Flower sets in a server's process."""
    monkeypatch.setattr(identity.TaskIdentity, "_run_id", 1)
    monkeypatch.setattr(identity.TaskIdentity, "_node_id", 1)
    monkeypatch.setattr(identity.TaskIdentity, "_task_id", 1)


class Nodes:
    """Flower's grid, in one process: hands a message to its node's ClientApp."""

    def __init__(self, foreign: Any) -> None:
        self.contexts = {
            node: flwr.Context(0, node, {"partition-id": index}, flwr.RecordDict(), {})
            for index, node in enumerate(NODES)
        }
        self._foreign = foreign

    def get_node_ids(self) -> Iterable[int]:
        return list(NODES)

    def answer(self, message: Any) -> Any:
        """Let a new process's app answer: nothing but the node's context is left of earlier rounds."""
        context = self.contexts[message.metadata.dst_node_id]
        return app(self._foreign, context.node_config["partition-id"])(message, context)


def app(foreign: Any, client_id: int) -> Any:
    mod = bridge.PluginMod(foreign.setting(PLUGINS))
    made = clientapp.ClientApp(mods=[mod])

    @made.train()
    def train(message: Any, context: Any) -> Any:
        model = small_net()
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        images, labels = (torch.cat(parts) for parts in zip(*foreign.batches(client_id), strict=True))
        loader = DataLoader(TensorDataset(images, labels), batch_size=8)
        with mod.training(model, loader) as batches:
            foreign.loop(model, batches)
        content = {
            "arrays": flwr.ArrayRecord(model.state_dict()),
            "metrics": flwr.MetricRecord({"num-examples": len(labels)}),
        }
        return flwr.Message(flwr.RecordDict(content), reply_to=message)

    return made


def test_flowers_own_rounds_give_what_the_neutral_sides_give(foreign: Any) -> None:
    setting = foreign.setting(PLUGINS)
    strategy, nodes = bridge.PluginFedAvg(setting, fraction_evaluate=0.0), Nodes(foreign)
    clients, plain = ClientSide(foreign.setting(PLUGINS)), ServerSide(foreign.setting(PLUGINS))
    arrays = flwr.ArrayRecord(setting.state)
    for round_idx in range(ROUNDS):
        messages = strategy.configure_train(round_idx + 1, arrays, flwr.ConfigRecord(), nodes)
        arrays, _ = strategy.aggregate_train(round_idx + 1, [nodes.answer(message) for message in messages])
        broadcast = plain.start_round(round_idx)
        states = [(16, foreign.client(clients, broadcast, index, foreign.batches(index))[1]) for index in range(3)]
        received = plain.receive(states)
        plain.aggregated({name: sum(s[name] * (1 / 3) for _, s in received) for name in received[0][1]})
    torch.testing.assert_close(strategy.side.server.weights, plain.server.weights)
    assert torch.equal(strategy.side.server.mask, plain.server.mask)
    assert not any(name.startswith("priprune.") for name in arrays)


def test_other_initial_weights_than_the_settings_are_refused(foreign: Any) -> None:
    strategy = bridge.PluginFedAvg(foreign.setting({}), fraction_evaluate=0.0)
    other = {name: tensor + 1 for name, tensor in small_net().state_dict().items()}
    with pytest.raises(ScenarioError, match="initial_arrays"):
        strategy.configure_train(1, flwr.ArrayRecord(other), flwr.ConfigRecord(), Nodes(foreign))
