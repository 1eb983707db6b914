"""What pluggy would pass over in silence is an error when the host is built."""

from dataclasses import dataclass
from typing import Any

import pytest
from torch import Tensor

from priprune_plugins import PluginError, hookimpl
from priprune_plugins.messages import Client, Reconstruction, Server, Upload
from priprune_plugins.plugins import PluginHost, Registered


def entry(plugin: object, kind: str = "pruners", name: str = "p") -> Registered:
    return Registered(kind, name, f"{kind}:{name}", plugin)


class Misspelt:
    @hookimpl
    def on_round_begin(self) -> None:
        """Never called."""


class Unmarked:
    def on_round_start(self, server: Server) -> None:
        """Never called."""


class NoHook:
    def scores(self) -> None:
        """No hook."""


class Defaulted:
    @hookimpl
    def on_round_start(self, server: Server = None) -> None:  # type: ignore[assignment]
        """pluggy before 1.7 would never pass the server."""


class Stranger:
    @hookimpl
    def on_round_start(self, weights: Tensor) -> None:
        """Takes what the hook does not pass."""


class Ordering:
    @hookimpl(tryfirst=True)
    def on_round_start(self, server: Server) -> None:
        """Wants to run before others."""


class Reconstructing:
    @hookimpl
    def reconstruct(self, observations: Any) -> list[Reconstruction]:
        return []


@pytest.mark.parametrize(
    ("plugin", "kind", "message"),
    [
        (Misspelt(), "pruners", "on_round_begin, which is no hook"),
        (Unmarked(), "pruners", "on_round_start without @hookimpl"),
        (NoHook(), "pruners", "implements no hook"),
        (Defaulted(), "pruners", "gives server a default"),
        (Stranger(), "pruners", "cannot take weights"),
        (Ordering(), "pruners", "asks for tryfirst"),
        (Misspelt, "pruners", "is the class Misspelt, not an instance"),
        (Reconstructing(), "defenses", "which only attacks may"),
    ],
)
def test_what_pluggy_passes_over_in_silence_is_an_error_at_start(plugin: object, kind: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        PluginHost([entry(plugin, kind)])


def test_an_attack_with_a_client_hook_is_refused() -> None:
    class Cheating(Reconstructing):
        @hookimpl
        def on_local_train_end(self, client: Client) -> None:
            """Would see the client's weights."""

    with pytest.raises(PluginError, match="attack p implements on_local_train_end: an attack sees only"):
        PluginHost([entry(Cheating(), "attacks")])


def test_two_plugins_that_compare_equal_are_refused() -> None:
    @dataclass(frozen=True)
    class Equal:
        rate: float = 0.3

        @hookimpl
        def on_round_start(self, server: Server) -> None:
            """Does nothing."""

    with pytest.raises(PluginError, match=r"eq=False"):
        PluginHost([entry(Equal(), name="a"), entry(Equal(), name="b")])


class Identifying:
    @hookimpl
    def identify(self, candidates: Any) -> None:
        """Scores nothing."""


def test_an_attack_needs_a_result() -> None:
    class OnlyWatching:
        @hookimpl
        def on_server_receive(self, upload: Upload) -> None:
            """Looks and says nothing."""

    with pytest.raises(PluginError, match="attack p implements neither reconstruct nor identify"):
        PluginHost([entry(OnlyWatching(), "attacks")])
    with pytest.raises(PluginError, match="pruner p implements identify, which only attacks may"):
        PluginHost([entry(Identifying(), "pruners")])
