"""A joined process: some of the clients, with their data and what they remember, on a resident model."""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.messages import Run
from priprune_plugins.network.checks import mapping, part, tensors, whole
from priprune_plugins.network.frames import Frame, FrameError, encoded
from priprune_plugins.network.jobs import visit_of
from priprune_plugins.network.kept import Kept
from priprune_plugins.network.uploads import sent_value, upload_value
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import Plugins, World, make_federation
from priprune_plugins.run.histories import Histories
from priprune_plugins.scenario.options import resolved
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.simulation.client_states import Spill
from priprune_plugins.simulation.setup_round import setup_upload

_RUN = re.compile("[0-9a-f]{16}")
_SMALL = 2**22


class Joined:
    """Carries out what the server asks, on a federation built from the same scenario.

    Attacks and trackers stay with the server. What clients remember lies here, and leaves this process for a folder at
    most.

    Args:
        scenario: The scenario.
        plugins: Its plugins.
        world: Its data and model.
        folder: Where what clients remember is kept for a resume; None = it ends with this process.

    Attributes:
        kept: What is written down there.
        clients: The clients that live here.
        visits: How many have been carried out.
    """

    def __init__(self, scenario: Scenario, plugins: Plugins, world: World, folder: Path | None = None) -> None:
        here = [entry for entry in plugins.hooked if entry.kind not in ("attacks", "trackers")]
        self._federation = make_federation(scenario, plugins, world, PluginHost(here))
        self._device = world.device
        self._histories = Histories(self._federation)
        self._scratch = tempfile.TemporaryDirectory(prefix="priprune-clients-", dir=scenario.states.folder)
        scratch = Path(self._scratch.name)
        self.kept = Kept(folder or scratch, folder is not None, scenario.checkpoint.keep + 1, world.device)
        self._spill = Spill(self.kept.files, scenario.states.max_gib * 2**30, scenario.states.on_loss)
        self._federation.states.clients.spill_to(self._spill, {})
        run = Run(folder=scratch, scenario=resolved(scenario, plugins.instances()), facts=world.facts)
        self._federation.host.on_run_start(run)
        self._mask: Tensor | None = None
        self.clients: frozenset[int] = frozenset()
        self.visits = 0
        self._answers: dict[str, Callable[[Any], Sequence[memoryview]]] = {
            "train": self._train,
            "setup": self._setup,
            "evaluate": self._evaluate,
        }

    def limit(self, kind: str) -> int:
        """Return the most bytes of tensors that the server may send."""
        downlink: Sequence[Tensor] = self._federation.handler.downlink_package
        vectors = sum(vector.nbytes for vector in downlink)
        mask = self._federation.server.weights.numel()
        buffers = sum(buffer.nbytes for buffer in self._federation.buffers.server.values())
        return vectors + mask + buffers + _SMALL

    def answer(self, frame: Frame) -> Sequence[memoryview] | None:
        """Do what the server asks and return the answer, or None where it wants none.

        Raises:
            FrameError: It asks for what nobody here knows.
        """
        match frame.kind:
            case "clients":
                ids = part(mapping(frame.value, frame.kind), "clients")
                self.clients = frozenset(whole(client_id, "client_id") for client_id in ids)
                return None
            case "broadcast":
                self._take(mapping(frame.value, frame.kind))
                return None
            case "save" | "resume":
                return self._written(frame.kind, mapping(frame.value, frame.kind))
        if frame.kind not in self._answers:
            raise FrameError(f"the server asks for {frame.kind!r}")
        self._begin(mapping(frame.value, frame.kind))
        self.visits += 1
        return self._answers[frame.kind](frame.value)

    def _written(self, kind: str, value: dict[str, Any]) -> Sequence[memoryview]:
        """Write down what the clients here remember, or take it back."""
        run, number = part(value, "run"), whole(part(value, "save"), "save")
        if not isinstance(run, str) or not _RUN.fullmatch(run):
            raise FrameError("the server's run has no name")
        clients, states = sorted(self.clients), self._federation.states.clients
        if kind == "save":
            if self.kept.lasting:
                self.kept.save(run, number, clients, states)
            return encoded("saved", self.kept.lasting or not self._remembers())
        return encoded("resumed", self.kept.resume(run, number, clients, states, self._spill))

    def _take(self, broadcast: dict[str, Any]) -> None:
        """Remember a broadcast: the server's weights are nowhere else in this process."""
        federation, mask = self._federation, part(broadcast, "mask")
        federation.payload = [element.to(self._device) for element in part(broadcast, "payload")]
        self._mask = None if mask is None else mask.to(self._device)
        buffers = tensors(part(broadcast, "buffers"), "buffers")
        federation.buffers.server = {name: buffer.to(self._device) for name, buffer in buffers.items()}

    def _begin(self, job: dict[str, Any]) -> None:
        client_id, round_idx = part(job, "client_id"), part(job, "round_idx")
        if client_id not in self.clients or type(round_idx) is not int:
            raise FrameError(f"the server asks for client {client_id!r}, which is not here")
        self._federation.server.round_idx = round_idx
        self._federation.server.mask = self._mask if part(job, "masked") is True else None

    def _train(self, job: dict[str, Any]) -> Sequence[memoryview]:
        visit = visit_of(job, self._federation, self._histories)
        sent = self._federation.runner.run(visit)
        if visit.states.origin in ("history", "new history"):
            self._histories.settle(visit.client_id)
        return encoded("left", {**sent_value(sent, visit), "remembers": self._remembers()})

    def _setup(self, job: dict[str, Any]) -> Sequence[memoryview]:
        upload = setup_upload(self._federation, job["client_id"])
        return encoded("upload", {"upload": upload_value(upload), "remembers": self._remembers()})

    def _evaluate(self, job: dict[str, Any]) -> Sequence[memoryview]:
        found = self._federation.test_client(job["client_id"], self._federation.payload)
        return encoded("evaluation", vars(found))

    def _remembers(self) -> bool:
        return next(self._federation.states.clients.known(), None) is not None

    def use_threads(self, count: int) -> None:
        """Compute with as many threads as the server: the last bits of a figure depend on their number."""
        torch.set_num_threads(count)

    def close(self) -> None:
        """Remove what clients' states have left on the disk."""
        self._scratch.cleanup()
