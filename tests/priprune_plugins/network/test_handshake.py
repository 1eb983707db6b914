"""Who is let in, and what a stranger learns."""

import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from queue import SimpleQueue

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.network import handshake
from priprune_plugins.network.connection import Connection, LostError
from priprune_plugins.network.frames import encoded
from priprune_plugins.network.handshake import RefusedError, knock, let_in
from priprune_plugins.network.listener import Listener, reach

TOKEN = b"0123456789abcdef"


@pytest.fixture
def door() -> Iterator[tuple[Listener, SimpleQueue[str]]]:
    """A listener that lets in whoever holds the token, and what became of each stranger."""
    listener, news = Listener("127.0.0.1", 0), SimpleQueue()

    def receive(connection: Connection, name: str) -> None:
        try:
            let_in(connection, TOKEN)
            news.put("let in")
        except Exception as error:
            news.put(f"{type(error).__name__}: {error}")
            raise

    listener.open(receive)
    yield listener, news
    listener.close()


def reached(listener: Listener) -> Connection:
    return Connection(socket.create_connection(listener.address), 5.0)


def test_both_sides_with_the_token_are_let_in(door) -> None:
    listener, news = door
    knock(reached(listener), TOKEN, 5.0)
    assert news.get(timeout=5) == "let in"


def test_another_token_is_refused_and_neither_token_is_on_the_wire(door) -> None:
    listener, news = door
    heard = bytearray()
    connection = reached(listener)
    receive = connection._fill

    def listening(part: memoryview, until: float | None) -> None:
        receive(part, until)
        heard.extend(part)

    connection._fill = listening
    with pytest.raises(RefusedError, match="the token is not the server's"):
        knock(connection, b"another token of a stranger", 5.0)
    assert news.get(timeout=5) == "RefusedError: the token is not the server's"
    assert TOKEN not in heard
    said = [
        json.loads(part)
        for part in bytes(heard).replace(b"\x00", b"\n").decode("latin1").split("\n")
        if part[:1] == "{"
    ]
    assert {one["kind"] for one in said} <= {"challenge", "refused"}


def test_a_server_that_does_not_hold_the_token_is_not_trusted(pair) -> None:
    connection, theirs = pair
    fake = threading.Thread(target=lambda: _fake_server(theirs))
    fake.start()
    with pytest.raises(RefusedError, match="the server does not hold the token"):
        knock(connection, TOKEN, 5.0)
    fake.join()


def _fake_server(theirs: socket.socket) -> None:
    """Sends the client's own proof back."""
    nonce = "0" * 64
    theirs.sendall(b"".join(encoded("challenge", {"protocol": handshake.PROTOCOL, "nonce": nonce})))
    text = theirs.recv(4096)
    proof = dict(json.loads(text[4:])["document"]["map"])["proof"]
    theirs.sendall(b"".join(encoded("proof", {"proof": proof})))


def test_a_proof_is_the_hmac_of_role_and_both_nonces() -> None:
    text = f"priprune 1 client {'a' * 64} {'b' * 64}".encode()
    assert handshake._proof(TOKEN, "client", "a" * 64, "b" * 64) == hmac.new(TOKEN, text, sha256).hexdigest()


def test_a_silent_stranger_is_dropped_and_keeps_nobody_out(door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "SECONDS", 0.5)
    listener, news = door
    silent = [socket.create_connection(listener.address) for _ in range(5)]
    started = time.monotonic()
    knock(reached(listener), TOKEN, 5.0)
    assert news.get(timeout=5) == "let in"
    assert time.monotonic() - started < 0.5
    assert [news.get(timeout=5).partition(":")[0] for _ in silent] == ["LostError"] * 5
    for one in silent:
        one.settimeout(5)
        while one.recv(4096):
            pass


def test_a_stranger_of_drips_is_dropped_after_the_same_time(door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "SECONDS", 0.3)
    listener, news = door
    stranger = socket.create_connection(listener.address)
    stranger.recv(4096)
    with pytest.raises(OSError):
        for byte in [0, 0, 3, 0, *[32] * 200]:
            stranger.sendall(bytes([byte]))
            time.sleep(0.05)
    assert news.get(timeout=5) == "LostError: was too slow"


def test_a_stranger_that_sends_a_web_request_or_a_large_frame_is_dropped(door) -> None:
    listener, news = door
    for text in (b"GET / HTTP/1.1\r\n\r\n", (2**20).to_bytes(4, "big")):
        with socket.create_connection(listener.address) as stranger:
            stranger.sendall(text)
            assert news.get(timeout=5).startswith("FrameError: a header of ")


def test_a_port_that_is_taken_is_named(door) -> None:
    host, port = door[0].address
    with pytest.raises(ScenarioError, match=rf"cannot listen on {host}:{port} \(Address already in use\)"):
        Listener(host, port)


def test_who_reaches_an_address() -> None:
    assert [reach(host) for host in ("127.0.0.1", "localhost", "0.0.0.0", "::", "192.0.2.1")] == [
        "machine",
        "machine",
        "everywhere",
        "everywhere",
        "network",
    ]


def test_a_lost_connection_says_so() -> None:
    listener = Listener("127.0.0.1", 0)
    listener.open(lambda connection, name: connection.close())
    with pytest.raises(LostError):
        knock(reached(listener), TOKEN, 5.0)
    listener.close()
