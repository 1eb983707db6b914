"""The server's half of the hooks, around any weighted mean of state dicts."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.bridges.received import Received, read_upload
from priprune_plugins.bridges.setting import Setting
from priprune_plugins.bridges.state_dicts import Parcel, StateDict, flat_of, with_weights
from priprune_plugins.errors import RunError
from priprune_plugins.facts import LabelledSet
from priprune_plugins.masks import applied
from priprune_plugins.messages import Server
from priprune_plugins.run.attack_files import keep_attack_states
from priprune_plugins.simulation.aggregation import Absent, fill_absent, normalised
from priprune_plugins.simulation.codecs import Codec
from priprune_plugins.simulation.states import StateStore
from priprune_plugins.simulation.unsent import Unsent

Weighted = tuple[float, Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class _Round:
    """What one round's mean must know afterwards."""

    clients: list[int]
    unsent: Unsent | None


class ServerSide:
    """Runs the server's hooks: :meth:`start_round`, :meth:`receive`, the framework's own mean, :meth:`aggregated`.

    Args:
        setting: Plugins, facts, seed and initial weights.
        public: The server's labelled public set, or None.
        absent: What a coordinate counts that a client did not send; None = the pruner's own choice, else ``previous``.

    Attributes:
        server: What the hooks see; its weights are dense, the broadcast is pruned.
        records: What ``on_round_end`` left, one record a round.
    """

    def __init__(self, setting: Setting, public: LabelledSet | None = None, absent: Absent | None = None) -> None:
        self.setting = setting
        self.states = StateStore(setting.host.key)
        self.server = Server(
            facts=setting.facts,
            weights=setting.initial,
            public=public,
            states=lambda plugin: self.states.of(plugin, None),
            generators=lambda plugin, round_idx: setting.stream(plugin, "server", round_idx),
        )
        self.records: list[dict[str, Any]] = []
        self._absent: Absent = absent or self._of_pruner()
        self._state = setting.state
        self._round = _Round([], None)

    def _of_pruner(self) -> Absent:
        pruners = [entry.plugin for entry in self.setting.host.registered if entry.kind == "pruners"]
        own: Absent | None = getattr(pruners[0], "absent", None) if pruners else None
        return own or "previous"

    def start_round(self, round_idx: int) -> StateDict:
        """Run ``on_round_start`` and return the broadcast, with what clients must know beside it."""
        self.server.round_idx = round_idx
        self.setting.host.on_round_start(self.server)
        state, captures = self.state(), self.setting.captures
        if captures is not None:
            captures.keep_server(self.server, flat_of(state, self.server.layout), self._buffers())
        return Parcel(state, _beside(round_idx, self.server.mask)).packed()

    def start_setup(self, round_idx: int) -> StateDict:
        """Return the broadcast of the setup round, before any mask is set."""
        self.server.round_idx = round_idx
        return Parcel(self.state(), _beside(round_idx, None)).packed()

    def state(self) -> StateDict:
        """Return the model's entries as they would be broadcast now: pruned weights exactly 0."""
        return with_weights(self._state, self.server.layout, applied(self.server.weights, self.server.mask))

    def _buffers(self) -> dict[str, Tensor]:
        parameters = set(self.server.layout.names)
        return {name: tensor for name, tensor in self._state.items() if name not in parameters}

    def receive(self, uploads: Sequence[Weighted]) -> list[tuple[float, StateDict]]:
        """Show the uploads to the plugins and return what the framework is to average, in the order given.

        A coordinate that a client did not send counts as ``absent`` says, never 0 unless that is asked for.

        Args:
            uploads: Images and state dict of each client, as they came.

        Raises:
            RunError: An upload is not finite, or of another round.
            ScenarioError: An upload is of a client without the hooks.
        """
        received = [read_upload(amount, entries, self.server) for amount, entries in uploads]
        for one in sorted(received, key=lambda one: one.client_id):
            self.setting.host.on_server_receive(self.server, one.upload)
        return self._filled(received)

    def _filled(self, received: Sequence[Received]) -> list[tuple[float, StateDict]]:
        present = [one.present for one in received]
        packs = [[one.upload.weights] for one in received]
        shares = normalised([one.amount for one in received], "samples")
        filled = fill_absent(packs, present, Codec(), self.server.weights, self._absent, shares)
        unsent = Unsent.of(present, self.server.weights, self._absent)
        self._round = _Round(sorted(one.client_id for one in received), unsent)
        layout = self.server.layout
        # Where everything was sent the framework averages the very tensors that came.
        return [
            (one.amount, one.state if one.present is None else with_weights(one.state, layout, pack[0]))
            for one, pack in zip(received, filled, strict=True)
        ]

    def receive_setup(self, uploads: Sequence[Weighted]) -> None:
        """Show the setup round's uploads to the plugins; nothing is averaged."""
        for amount, entries in uploads:
            self.setting.host.on_server_receive(self.server, read_upload(amount, entries, self.server).upload)

    def aggregated(self, mean: Mapping[str, Tensor]) -> StateDict:
        """Take over the framework's mean, let the plugins prune again, and return the model's entries.

        Raises:
            RunError: The mean is not finite.
        """
        weights = flat_of(mean, self.server.layout).to(self.server.weights)
        if not bool(weights.isfinite().all()):
            raise RunError(f"round {self.server.round_idx}: the mean holds NaN or infinity; lower the learning rate")
        if self._round.unsent is not None:
            self._round.unsent.put_back_(weights)
        self.server.weights = weights
        self._state = OrderedDict((name, _like(tensor, mean[name])) for name, tensor in self._state.items())
        self.setting.host.on_aggregate_end(self.server)
        self.records.append({"round": self.server.round_idx, "clients": self._round.clients})
        self.setting.host.on_round_end(self.server, self.records[-1])
        return self.state()

    def end(self) -> None:
        """Run ``on_run_end`` and keep what attacks remember that watched the server."""
        setting = self.setting
        keep_attack_states(
            setting.run.folder, [entry for entry in setting.host.registered if entry.kind == "attacks"], self.server
        )
        setting.host.on_run_end(setting.run)


def _beside(round_idx: int, mask: Tensor | None) -> dict[str, Tensor]:
    return {"round": torch.tensor(round_idx), **({} if mask is None else {"mask": mask})}


def _like(tensor: Tensor, value: Tensor) -> Tensor:
    """Return a mean in the type of what was averaged; a mean of counters is rounded."""
    return (value if tensor.is_floating_point() else value.double().round()).to(tensor)
