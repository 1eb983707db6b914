"""What plugins remember between rounds, kept by the host and keyed by the plugin's place in the scenario."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

from priprune_plugins.messages import State

Key = tuple[str, int | None]


class StateStore:
    """One dictionary per plugin and client, made at the first use; ``None`` stands for the server.

    Args:
        key_of: Returns a plugin's key.
    """

    def __init__(self, key_of: Callable[[object], str]) -> None:
        self._key_of = key_of
        self.entries: dict[Key, State] = {}

    def of(self, plugin: object, client_id: int | None) -> State:
        """Return the live state of ``plugin`` at a client, or at the server."""
        return self.entries.setdefault((self._key_of(plugin), client_id), {})

    def fork(self, client_id: int | None) -> "StateStore":
        """Return a store that starts from copies of one client's states and whose changes are thrown away."""
        copy = StateStore(self._key_of)
        copy.entries = {key: deepcopy(state) for key, state in self.entries.items() if key[1] == client_id}
        return copy

    def forget_nonfinite(self, client_id: int) -> None:
        """Drop what plugins remember of a client where it holds NaN or infinity; the client starts anew there."""
        for key in [key for key, state in self.entries.items() if key[1] == client_id and _nonfinite(state)]:
            del self.entries[key]


def _nonfinite(state: State) -> bool:
    tensors = [value for value in state.values() if isinstance(value, Tensor) and value.is_floating_point()]
    return any(not bool(torch.isfinite(tensor).all()) for tensor in tensors)
