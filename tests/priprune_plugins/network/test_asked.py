"""A server whose name is wrong is refused at once; one whose name is not known yet is waited for."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from priprune_plugins.errors import RunError, ScenarioError
from priprune_plugins.network.asked import check_resolves
from priprune_plugins.network.join import Joining, _reached
from priprune_plugins.run import Watcher

Late = Callable[[float], list[str]]


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Late:
    """Let the name server not answer for so many questions; return what it was asked."""
    real, asked = socket.getaddrinfo, []

    def begin(silent: float) -> list[str]:
        def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
            asked.append(host)
            if len(asked) <= silent:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return real("127.0.0.1", *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return begin


def test_a_name_server_that_cannot_answer_yet_is_asked_again(late: Late) -> None:
    asked = late(2)
    check_resolves("server", "--connect")
    with socket.create_server(("127.0.0.1", 0)) as server:
        _reached(Joining("server", server.getsockname()[1], b""), 30.0, Watcher()).close()
    assert asked == ["server"] * 3


def test_one_that_never_answers_is_named_when_the_time_is_up(late: Late) -> None:
    late(float("inf"))
    with pytest.raises(
        RunError, match=r"no server at server:1 within .* \(0.1 s\): Temporary failure in name resolution"
    ):
        _reached(Joining("server", 1, b""), 0.1, Watcher())


def test_a_name_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScenarioError, match=r"--connect: no address of 'a\.\.b' \(it is no name\)"):
        check_resolves("a..b", "--connect")

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ScenarioError, match=r"no address of 'sever' \(Name or service not known\)"):
        check_resolves("sever", "--connect")
