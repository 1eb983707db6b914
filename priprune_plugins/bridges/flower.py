"""Flower: a client mod and a strategy that carry the plugins; what a client remembers lies in Flower's own context."""

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp.typing import ClientAppCallable
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from torch import Tensor, nn

from priprune_plugins.bridges.client_side import ClientSide
from priprune_plugins.bridges.observed_rounds import close_round, open_round
from priprune_plugins.bridges.seen_batches import LoopBatches
from priprune_plugins.bridges.server_side import ServerSide
from priprune_plugins.bridges.setting import Setting
from priprune_plugins.bridges.state_dicts import flat_of, unpacked
from priprune_plugins.bridges.task import Task, Trained
from priprune_plugins.checkpoint.plain import Packed, pack, unpack
from priprune_plugins.errors import ScenarioError
from priprune_plugins.facts import LabelledSet

_MEMORY, _TENSORS = "priprune.memory", "priprune.tensors"


class PluginMod:
    """``ClientApp(mods=[mod])``, and in the training function ``with mod.training(model, loader, epochs) as batches:``.

    A client's id is ``partition-id`` of its node's configuration, as in simulations, else its node id.

    Args:
        setting: Plugins, facts, seed and initial weights.
        arrays: Name of the ArrayRecord that holds the model.
    """

    def __init__(self, setting: Setting, arrays: str = "arrays") -> None:
        setting.refuse_setup("Flower")
        self.side = ClientSide(setting)
        self._arrays = arrays
        self._beside: Mapping[str, Tensor] = {}
        self._client_id = 0
        self._trained: Trained | None = None

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Take off what the server says beside the model; put the upload in the place of the trained model."""
        parcel = unpacked(message.content[self._arrays].to_torch_state_dict())
        # A content of its own: within one process Flower's messages share theirs.
        message.content = RecordDict({**message.content, self._arrays: ArrayRecord(parcel.state)})
        if message.metadata.message_type != MessageType.TRAIN:
            return call_next(message, context)
        self._beside, self._trained = parcel.beside, None
        self._client_id = int(context.node_config.get("partition-id", context.node_id))
        self._recall(context)
        reply = call_next(message, context)
        if not reply.has_error():
            own = reply.content[self._arrays].to_torch_state_dict()
            reply.content[self._arrays] = ArrayRecord(self._sent(own))
        self._remember(context)
        return reply

    @contextmanager
    def training(self, model: nn.Module, loader: Any, epochs: int = 1) -> Iterator[LoopBatches]:
        """Inside the block every optimiser step passes the hooks.

        Args:
            model: Holds the message's arrays, on the device where it trains.
            loader: The client's ``DataLoader``; the loop must iterate over what the block gives instead.
            epochs: Passes that the loop makes.
        """
        task = Task.read(self._beside, self._client_id, len(loader.dataset), len(loader) * epochs)
        visit = open_round(self.side, model, task, loader)
        with visit.steps():
            yield visit.batches
        self._trained = close_round(self.side, visit)

    def _sent(self, own: Mapping[str, Tensor]) -> "OrderedDict[str, Tensor]":
        if self._trained is None:
            raise ScenarioError("Flower: the training function must train inside `with mod.training(model, loader):`")
        sent = self._trained.packed(own, self.side.setting.facts.layout)
        return OrderedDict((name, tensor.cpu()) for name, tensor in sent.items())

    def _recall(self, context: Context) -> None:
        if _MEMORY in context.state:
            tensors = context.state[_TENSORS].to_torch_state_dict().values()
            memory = Packed(json.loads(context.state[_MEMORY]["document"]), list(tensors))
            self.side.states.clients.put(self._client_id, unpack(memory, torch.device("cpu")))

    def _remember(self, context: Context) -> None:
        states = self.side.states.clients.take(self._client_id)
        memory = pack({key: dict(state) for key, state in states.items()}, f"the state of client {self._client_id}")
        # Names in the order of the tensors, which a record keeps.
        named = {f"{index:04d}": tensor.detach().cpu() for index, tensor in enumerate(memory.tensors)}
        context.state[_TENSORS] = ArrayRecord(OrderedDict(named))
        context.state[_MEMORY] = ConfigRecord({"document": json.dumps(memory.document)})


class PluginFedAvg(FedAvg):  # type: ignore[misc]
    """Flower's ``FedAvg`` with plugins; Flower's round 1 is round 0 here.

    Args:
        setting: Plugins, facts, seed and initial weights.
        public: The server's labelled public set, or None.
        **options: Flower's own.

    Raises:
        ScenarioError: A plugin needs a setup round.
    """

    def __init__(self, setting: Setting, public: LabelledSet | None = None, **options: Any) -> None:
        setting.refuse_setup("Flower")
        super().__init__(**options)
        self.side = ServerSide(setting, public)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the broadcast, with what clients must know beside it."""
        layout, weights = self.side.server.layout, self.side.setting.initial
        if server_round == 1 and not torch.equal(flat_of(arrays.to_torch_state_dict(), layout), weights):
            raise ScenarioError("Flower: initial_arrays are not the setting's weights; give ArrayRecord(setting.state)")
        broadcast = ArrayRecord(self.side.start_round(server_round - 1))
        messages: Iterable[Message] = super().configure_train(server_round, broadcast, config, grid)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Show the uploads to the plugins, let Flower average, and let the plugins prune again."""
        answers = list(replies)
        whole = [answer.content for answer in answers if not answer.has_error()]
        amounts = [next(iter(one.metric_records.values()))[self.weighted_by_key] for one in whole]
        states = [one[self.arrayrecord_key].to_torch_state_dict() for one in whole]
        received = self.side.receive(list(zip(amounts, states, strict=True))) if whole else []
        for one, (_, state) in zip(whole, received, strict=True):
            one[self.arrayrecord_key] = ArrayRecord(state)
        mean, metrics = super().aggregate_train(server_round, answers)
        return None if mean is None else ArrayRecord(self.side.aggregated(mean.to_torch_state_dict())), metrics
