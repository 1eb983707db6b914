"""Clients' states within a budget of memory: the longest unused lie in files, read again when their client takes part.

Which of them are in memory changes no figure: a state comes back with the same bits and the same types.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from priprune_plugins.checkpoint.client_files import ClientFiles, StateFile
from priprune_plugins.checkpoint.plain import UnsavableError, pack
from priprune_plugins.checkpoint.state_file import DamagedFileError
from priprune_plugins.errors import PluginError, RunError
from priprune_plugins.memory import give_back_freed
from priprune_plugins.messages import State

_logger = logging.getLogger(__name__)
States = dict[str, State]
_TRIM_EVERY = 2**29


@dataclass(frozen=True, eq=False)
class Spill:
    """Where clients' states go that do not fit.

    Args:
        files: The folder.
        max_bytes: Most that clients' states may take in memory once a client's visit is over.
        on_loss: What a client does whose file is gone or damaged: ``fail`` = the run stops; ``fresh`` = it starts anew,
            with a warning.
        sized: Is told the bytes of a client's state at the first one's visit, before any file is written, and where
            they become half as many again.
    """

    files: ClientFiles
    max_bytes: float
    on_loss: Literal["fail", "fresh"] = "fail"
    sized: Callable[[int], None] | None = None


class ClientStates:
    """What is remembered of each client, by whoever remembers it."""

    def __init__(self) -> None:
        # In the order of the last use.
        self._resident: dict[int, States] = {}
        self._sizes: dict[int, int] = {}
        self._bytes = 0
        self._files: dict[int, StateFile] = {}
        self._changed: set[int] = set()
        self._spill: Spill | None = None
        self._told_bytes = 0
        self._trimmed_at = 0

    def spill_to(self, spill: Spill, files: Mapping[int, StateFile]) -> None:
        """Keep within a budget from now on.

        Args:
            spill: Where to.
            files: States that lie there already, those of a checkpoint.
        """
        self._spill = spill
        self._files = dict(files)

    def open(self, client_id: int) -> States:
        """Return the live states of a client; they stay in memory until the client is settled.

        Raises:
            RunError: Its file is gone or damaged, and that is not allowed.
        """
        states = self._resident.pop(client_id, None)
        self._resident[client_id] = self._read(client_id) if states is None else states
        # Whoever gets a live state may change it in place at any time.
        self._changed.add(client_id)
        return self._resident[client_id]

    def copied(self, client_id: int) -> States:
        """Return copies of a client's states."""
        known = self._resident.get(client_id)
        return self._read(client_id) if known is None else deepcopy(known)

    def put(self, client_id: int, states: States) -> None:
        """Set the states of a client."""
        self._resident[client_id] = states
        self._changed.add(client_id)

    def take(self, client_id: int) -> States:
        """Return the states of a client and forget that it has any: somebody else keeps them."""
        self._resize(client_id, 0)
        self._changed.discard(client_id)
        return self._resident.pop(client_id, {})

    def _read(self, client_id: int) -> States:
        file = self._files.get(client_id)
        if file is None or self._spill is None:
            return {}
        try:
            states: States = self._spill.files.read(file)
            return states
        except DamagedFileError as error:
            if self._spill.on_loss == "fail":
                raise RunError(
                    f"the state of client {client_id} is lost: {error}; go on from a checkpoint with --resume, or let "
                    "such clients start anew with --set states.on_loss=fresh"
                ) from error
            _logger.warning("client %d starts anew, its state is lost: %s", client_id, error)
            return {}

    def settle(self, client_id: int) -> None:
        """Note the size of a client whose visit is over, and move the longest unused states to files where too many."""
        if client_id in self._resident:
            size = _num_bytes(self._resident[client_id])
            self._resize(client_id, size)
            self._tell(size)
        if self._spill is None:
            return
        if self._bytes > self._trimmed_at + _TRIM_EVERY:
            # Holes between states, too small for what is freed and asked for again, grow with them.
            self._trimmed_at = self._bytes
            give_back_freed()
        while self._resident and self._bytes > self._spill.max_bytes:
            oldest = next(iter(self._resident))
            self._save(oldest, self._spill.files)
            del self._resident[oldest]
            self._resize(oldest, 0)
            give_back_freed()

    def _tell(self, size: int) -> None:
        # Again where states have grown so much that what was told says nothing of them any more.
        if self._spill is not None and self._spill.sized is not None and size > 1.5 * self._told_bytes:
            self._told_bytes = size
            self._spill.sized(size)

    def _resize(self, client_id: int, size: int) -> None:
        # A running sum: adding up the sizes of a million clients at every visit would cost more than the visit.
        self._bytes += size - self._sizes.pop(client_id, 0)
        self._sizes[client_id] = size

    def _save(self, client_id: int, files: ClientFiles) -> None:
        states = {key: dict(state) for key, state in self._resident[client_id].items() if state}
        before = self._files.pop(client_id, None)
        if states:
            try:
                self._files[client_id] = files.write(client_id, states)
            except UnsavableError as error:
                raise PluginError(unsavable(error)) from error
        self._changed.discard(client_id)
        if before is not None and before != self._files.get(client_id):
            files.discard(before)

    def save_all(self) -> dict[int, StateFile]:
        """Write every state that may have changed and return the file of each client of whom something is remembered.

        Raises:
            PluginError: A plugin remembers what no file can hold.
        """
        if self._spill is None:
            raise RuntimeError("clients' states have no folder: call spill_to first")
        for client_id in sorted(self._changed & self._resident.keys()):
            self._save(client_id, self._spill.files)
        return dict(self._files)

    def forget(self) -> None:
        """Forget every client's state that is in memory, and give the memory back; files stay as they are."""
        self._resident.clear()
        self._sizes.clear()
        self._changed.clear()
        self._bytes = 0
        give_back_freed()

    def check_savable(self) -> None:
        """Refuse now what could not be written later.

        Raises:
            PluginError: A plugin remembers of a client what no file can hold.
        """
        for client_id, states in self._resident.items():
            try:
                pack({key: dict(state) for key, state in states.items()}, f"the state of client {client_id}")
            except UnsavableError as error:
                raise PluginError(unsavable(error)) from error

    def files(self) -> Collection[StateFile]:
        """Return the current file of each client whose state has been written."""
        return self._files.values()

    def known(self) -> Iterator[int]:
        """Yield the clients of whom something is remembered, in order of id."""
        for client_id in sorted(self._resident.keys() | self._files.keys()):
            if client_id not in self._resident or any(self._resident[client_id].values()):
                yield client_id


def unsavable(error: Any) -> str:
    """Return how a user is told that something cannot be written."""
    return (
        f"{error}: only tensors, arrays, numbers, texts, lists, tuples and dictionaries survive a resume; keep those, "
        "or set checkpoint.keep: 0 to run without"
    )


def _num_bytes(states: States) -> int:
    tensors = {id(value): value for state in states.values() for value in state.values() if isinstance(value, Tensor)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
