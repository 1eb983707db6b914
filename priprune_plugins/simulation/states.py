"""What plugins, and the algorithm's trainer, remember between rounds of the server and of each client."""

from collections.abc import Callable
from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor

from priprune_plugins.messages import State
from priprune_plugins.simulation.client_states import ClientStates, States

# Not the key of a plugin: those hold a colon.
_ALGORITHM = "algorithm"
Origin = Literal["own", "copy", "nothing", "history", "new history"]


class StateStore:
    """One dictionary per plugin and client, made at the first use; ``None`` stands for the server.

    Args:
        key_of: Returns a plugin's key.
        origin: What a visit starts from: what the client remembers, a copy of it, nothing, or a victim's history, so
            that whoever carries the visit out where the client lives can begin from the same.

    Attributes:
        server: The server's, by plugin key.
        clients: The clients'; see :class:`ClientStates` for where they live.
    """

    def __init__(self, key_of: Callable[[object], str], origin: Origin = "own") -> None:
        self._key_of = key_of
        self.origin = origin
        self.server: States = {}
        self.clients = ClientStates()

    def of(self, plugin: object, client_id: int | None) -> State:
        """Return the live state of ``plugin`` at a client, or at the server."""
        states = self.server if client_id is None else self.clients.open(client_id)
        return states.setdefault(self._key_of(plugin), {})

    def algorithm(self, client_id: int) -> State:
        """Return the live state of the algorithm's trainer at a client."""
        return self.clients.open(client_id).setdefault(_ALGORITHM, {})

    def fork(self, client_id: int | None) -> "StateStore":
        """Return a store that starts from copies of one client's states and whose changes are thrown away."""
        copy = StateStore(self._key_of, "copy")
        if client_id is None:
            copy.server = deepcopy(self.server)
        else:
            copy.clients.put(client_id, self.clients.copied(client_id))
        return copy

    def forget_nonfinite(self, client_id: int) -> None:
        """Drop what plugins remember of a client where it holds NaN or infinity; the client starts anew there."""
        states = self.clients.open(client_id)
        for key in [key for key, state in states.items() if key != _ALGORITHM and _nonfinite(state)]:
            del states[key]


def _nonfinite(state: State) -> bool:
    tensors = [value for value in state.values() if isinstance(value, Tensor) and value.is_floating_point()]
    return any(not bool(torch.isfinite(tensor).all()) for tensor in tensors)
