"""What plugins remember between rounds, kept by the host and keyed by the plugin's place in the scenario."""

from collections.abc import Callable
from typing import Any

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
        copy.entries = {key: _copied(state) for key, state in self.entries.items() if key[1] == client_id}
        return copy


def _copied(state: State) -> State:
    return {name: _copied_value(value) for name, value in state.items()}


def _copied_value(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return _copied(value)
    return list(map(_copied_value, value)) if isinstance(value, list) else value
