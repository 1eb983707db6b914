"""What the clients of a joined process remember, in a folder, as it was at each of the server's checkpoints."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from priprune_plugins.checkpoint.client_files import ClientFiles, StateFile
from priprune_plugins.checkpoint.state_file import DamagedFileError
from priprune_plugins.errors import ScenarioError
from priprune_plugins.run.folder import write_json
from priprune_plugins.simulation.client_states import ClientStates, Spill

_NAME = re.compile(r"([0-9a-f]{16})-(\d{6,})\.json")


class Kept:
    """Writes clients' states down and takes them back.

    Args:
        folder: Of this process alone, and of one run.
        lasting: Whether the folder outlives the process.
        versions: How many of the server's checkpoints may be gone back to.
        device: Where the states' tensors go.

    Raises:
        ScenarioError: The folder cannot be made.
    """

    def __init__(self, folder: Path, lasting: bool, versions: int, device: torch.device) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ScenarioError(f"--states: cannot make {folder}: {error.strerror}; give another folder") from error
        self._folder = folder
        self.lasting = lasting
        self._versions = versions
        self.files = ClientFiles(folder / "clients", device)

    def asked_before(self) -> range | None:
        """Return the clients that lived here when something was last written down, or None."""
        saves = self._saves()
        clients = [] if not saves else _read(saves[-1])["clients"]
        whole = bool(clients) and clients[-1] - clients[0] + 1 == len(clients)
        return range(clients[0], clients[-1] + 1) if whole else None

    def save(self, run: str, number: int, clients: Sequence[int], states: ClientStates) -> None:
        """Write down what ``clients`` remember now.

        Args:
            run: Names the run.
            number: Of the server's checkpoint, rising.
            clients: Who lives here.
            states: What is remembered of them.
        """
        files = states.save_all()
        self.files.sync()
        document = {"clients": list(clients), "files": {str(one): vars(file) for one, file in files.items()}}
        write_json(self._folder / f"{run}-{number:06d}.json", document)
        saves = self._saves()
        mine = [path for path in saves if path.name.startswith(run)][-self._versions :]
        for path in saves:
            if path not in mine:
                path.unlink()
        kept = {file["name"] for path in mine for file in _read(path)["files"].values()}
        self.files.pinned = frozenset(kept)
        self.files.collect(kept | {file.name for file in files.values()})

    def resume(self, run: str, number: int, clients: Sequence[int], states: ClientStates, spill: Spill) -> bool:
        """Let ``clients`` remember what was written down; return whether it is here, whole, and of these clients."""
        path = self._folder / f"{run}-{number:06d}.json"
        if not path.is_file():
            return False
        document = _read(path)
        files = {int(client_id): StateFile(**file) for client_id, file in document["files"].items()}
        try:
            for file in files.values():
                self.files.check(file)
        except DamagedFileError:
            return False
        if document["clients"] != list(clients):
            return False
        self.files.pinned = frozenset(file.name for file in files.values())
        states.spill_to(spill, files)
        return True

    def _saves(self) -> list[Path]:
        """Return what was written down, the newest last."""
        found = [path for path in self._folder.glob("*.json") if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
