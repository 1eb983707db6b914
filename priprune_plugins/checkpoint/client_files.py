"""Clients' states on disk, each version written once, so that a checkpoint refers to it instead of copying it."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from priprune_plugins.checkpoint.durable import sync
from priprune_plugins.checkpoint.state_file import check_hash, read_state, write_state

_NAME = re.compile(r"c\d{5,}-[0-9a-f]{16}\.safetensors")


@dataclass(frozen=True)
class StateFile:
    """One version of one client's state.

    Args:
        name: File name in the folder of the states.
        sha256: Of the file.
        num_bytes: Its size.
    """

    name: str
    sha256: str
    num_bytes: int

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name[:80]!r} is no name of a state file")


class ClientFiles:
    """The folder of clients' states.

    Args:
        folder: Made when the first state is written.
        device: Where tensors go that did not lie on the CPU.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder = folder
        self._device = device
        self._unsynced: set[str] = set()
        # Versions that a kept checkpoint refers to.
        self.pinned: frozenset[str] = frozenset()

    def write(self, client_id: int, state: Any) -> StateFile:
        """Write a client's state, unless this very version is there already.

        Raises:
            UnsavableError: The state holds what no file can.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / "client.part"
        digest = write_state(temporary, state, f"the state of client {client_id}")
        size = temporary.stat().st_size
        file = StateFile(f"c{client_id:05d}-{digest[:16]}.safetensors", digest, size)
        temporary.replace(self.folder / file.name)
        self._unsynced.add(file.name)
        return file

    def read(self, file: StateFile) -> Any:
        """Return a client's state, mapped from its file.

        Raises:
            DamagedFileError: The file is gone or damaged.
        """
        return read_state(self.folder / file.name, file.sha256, self._device)

    def check(self, file: StateFile) -> None:
        """Compare a file with its sha256.

        Raises:
            DamagedFileError: The file is gone or damaged.
        """
        check_hash(self.folder / file.name, file.sha256)

    def discard(self, file: StateFile) -> None:
        """Remove a version that nothing holds on to but, perhaps, a checkpoint."""
        if file.name not in self.pinned:
            (self.folder / file.name).unlink(missing_ok=True)
            self._unsynced.discard(file.name)

    def sync(self) -> None:
        """Wait until everything written is on the disk."""
        for name in sorted(self._unsynced):
            sync(self.folder / name)
        if self._unsynced:
            sync(self.folder)
        self._unsynced.clear()

    def collect(self, needed: Collection[str]) -> None:
        """Remove every version that is not needed, those that a killed process left behind too."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name not in needed and (_NAME.fullmatch(path.name) or path.name == "client.part"):
                    path.unlink()
