"""Checkpoints of a running federation: what is in them, and how a run goes on from one."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from priprune_plugins.checkpoint.checkpoints import Checkpoint, Checkpoints, Manifest
from priprune_plugins.checkpoint.client_files import ClientFiles, StateFile
from priprune_plugins.checkpoint.durable import sync
from priprune_plugins.checkpoint.plain import UnsavableError
from priprune_plugins.checkpoint.state_file import DamagedFileError
from priprune_plugins.errors import PluginError, RunError
from priprune_plugins.run.finished import finish
from priprune_plugins.run.pace import Pace
from priprune_plugins.run.resume import APPENDED, cut_back, sizes_now
from priprune_plugins.run.state_folder import disk_need, states_folder
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.simulation.client_states import Spill, unsavable
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.snapshot import check_savable, restore, snapshot

Rest = tuple[dict[str, Any], float]


class Checkpointer:
    """Writes and reads the checkpoints of one run.

    Args:
        folder: The run folder.
        scenario: Says how often, how many, and where clients' states go.
        federation: Newly built; its clients' states are kept within their budget from now on.
        watcher: Is told how much disk they will need.
    """

    def __init__(self, folder: Path, scenario: Scenario, federation: Federation, watcher: Watcher) -> None:
        self._folder = folder
        self.federation = federation
        self._watcher = watcher
        self._keep = scenario.checkpoint.keep
        self._pace = Pace(scenario.checkpoint)
        self.checkpoints = Checkpoints(folder / "checkpoint", max(self._keep, 1))
        files = ClientFiles(states_folder(folder, scenario.states), federation.server.weights.device)
        self._spill = Spill(files, scenario.states.max_gib * 2**30, scenario.states.on_loss, self._tell_need)
        self._looked = False

    def begin(self) -> None:
        """Begin with round 0, without whatever a run that was killed before its first checkpoint has left.

        Raises:
            ScenarioError: The algorithm keeps what no checkpoint can hold.
        """
        if self._keep:
            check_savable(self.federation)
        cut_back(self._folder, 0, {})
        self.federation.states.clients.spill_to(self._spill, {})
        self._pin()

    def find(self) -> Checkpoint | None:
        """Return the newest whole checkpoint, or None where there never was one; damaged ones are warned about.

        Raises:
            RunError: There are checkpoints, and none of them is whole.
        """
        device = self.federation.server.weights.device
        found, refused = self.checkpoints.newest(device, self._unusable)
        if found is None and refused and self._spill.on_loss == "fresh":
            found, _ = self.checkpoints.newest(device, self._damaged_but_for_clients)
        if found is None and refused:
            raise RunError(
                f"no checkpoint of {self._folder} is whole: {refused[0]}; to begin anew, remove "
                f"{self.checkpoints.folder} and run with --resume again"
            )
        for wrong in refused:
            self._watcher.warn(f"a checkpoint is passed over: {wrong}")
        return found

    def _unusable(self, manifest: Manifest) -> str | None:
        try:
            for file in manifest.clients.values():
                self._spill.files.check(file)
        except DamagedFileError as error:
            return str(error)
        return self._damaged_but_for_clients(manifest)

    def _damaged_but_for_clients(self, manifest: Manifest) -> str | None:
        if manifest.stage == "trained" and not (self._folder / "summary.json").is_file():
            return f"{self._folder / 'summary.json'} is gone"
        now = sizes_now(self._folder)
        short = [name for name, size in manifest.sizes.items() if now.get(name, 0) < size]
        return f"{self._folder / short[0]} has lost lines of rounds before {manifest.next_round}" if short else None

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take folder and federation back to a checkpoint."""
        manifest = checkpoint.manifest
        cut_back(self._folder, manifest.next_round, manifest.sizes)
        restore(self.federation, checkpoint.state["federation"])
        whole = {client_id: file for client_id, file in manifest.clients.items() if self._whole(client_id, file)}
        self.federation.states.clients.spill_to(self._spill, whole)
        self._pin()

    def _whole(self, client_id: int, file: StateFile) -> bool:
        if self._spill.on_loss == "fail":
            return True
        try:
            self._spill.files.check(file)
        except DamagedFileError as error:
            self._watcher.warn(f"client {client_id} starts anew, its state is lost: {error}")
            return False
        return True

    def after_round(self, next_round: int, stopping: bool, rest: Callable[[], Rest]) -> None:
        """Write a checkpoint where one is due, or where the run is about to stop.

        Args:
            next_round: The round that would be next.
            stopping: Whether the run stops here.
            rest: Gives what the run itself must remember, and its seconds so far.
        """
        if not self._looked:
            self._first_look()
        if self._keep and (stopping or self._pace.due(next_round)):
            self._save(next_round, *rest())

    def _first_look(self) -> None:
        """After the first round, refuse what could not be saved later."""
        self._looked = True
        if self._keep:
            check_savable(self.federation)
            self.federation.states.clients.check_savable()

    def _tell_need(self, client_bytes: int) -> None:
        """Tell how much disk clients' states will need."""
        versions, clients = self._keep + 1, self.federation.setting.data.num_clients
        line, short = disk_need(client_bytes, clients, self._spill.max_bytes, versions, self._spill.files.folder)
        if line:
            (self._watcher.warn if short else self._watcher.say)(line)

    def _save(self, next_round: int, rest: Any, seconds: float) -> None:
        started = time.monotonic()
        clients = self.federation.states.clients.save_all()
        self._spill.files.sync()
        elsewhere: Mapping[str, Any] = rest.get("elsewhere", {})
        forgotten = elsewhere.get("remember") is True and not elsewhere["kept"]
        self._write(Manifest(next_round, "training", self._synced_sizes(), clients, seconds, forgotten), rest)
        self._pin()
        self._pace.wrote(time.monotonic() - started)

    def trained(self, rest: Any, seconds: float) -> None:
        """Write the last checkpoint, the server's memory only: nobody needs the clients' any more."""
        if self._keep:
            rounds = self.federation.setting.rounds
            self._write(Manifest(rounds, "trained", self._synced_sizes(), seconds=seconds), rest)
        # Attacks take memory of their own.
        self.federation.states.clients.forget()

    def done(self) -> None:
        """Mark the run as finished and remove what only a resume needs."""
        finish(self._folder, self.checkpoints, self._spill.files)

    def _write(self, manifest: Manifest, rest: Any) -> None:
        try:
            self.checkpoints.write(manifest, {"federation": snapshot(self.federation), "run": rest})
        except UnsavableError as error:
            raise PluginError(unsavable(error)) from error

    def _synced_sizes(self) -> dict[str, int]:
        for name in APPENDED:
            if (self._folder / name).exists():
                sync(self._folder / name)
        return sizes_now(self._folder)

    def _pin(self) -> None:
        """Hold on to the clients' files of the kept checkpoints and to the current ones, and remove all others."""
        kept = {file.name for manifest in self.checkpoints.manifests() for file in manifest.clients.values()}
        self._spill.files.pinned = frozenset(kept)
        self._spill.files.collect(kept | {file.name for file in self.federation.states.clients.files()})
