"""A server's crew against processes that break the rules: what they send is refused, and the run goes on or stops."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from priprune_plugins.errors import RunError, ScenarioError
from priprune_plugins.network.connection import Connection, LostError
from priprune_plugins.network.frames import encoded
from priprune_plugins.network.handshake import RefusedError, knock
from priprune_plugins.network.identity import identity
from priprune_plugins.network.joined import Joined
from priprune_plugins.network.listener import Listener
from priprune_plugins.network.serve import _Door
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import make_federation, make_plugins, make_world
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario import Scenario, read_scenario
from priprune_plugins.simulation.federation import Federation

SCENARIO = """
rounds: 2
device: cpu
data: {name: digits, size: 14, train: 240, test: 60, clients: 4, partition: iid}
model: {name: mlp, hidden: [8]}
algorithm: {name: fedavg, clients_per_round: 4, batch_size: 5, lr: 0.1}
network: {port: 0, processes: 2, timeout_seconds: 3, visit_seconds: 1, wait_seconds: 20}
"""
TOKEN = b"0123456789abcdef"
Spoil = Callable[[dict[str, Any]], object]


class Told(Watcher):
    """Keeps what a user would be warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


class Process(threading.Thread):
    """A joined process that spoils what it sends; in a thread, since nothing of this scenario draws globally."""

    def __init__(self, scenario: Scenario, address: tuple[str, int], spoil: Spoil | bytes | None = None) -> None:
        super().__init__(daemon=True)
        plugins = make_plugins(scenario)
        world = make_world(scenario, plugins)
        self._joined, self._spoil = Joined(scenario, plugins, world), spoil
        self._connection = Connection(socket.create_connection(address), 20.0)
        knock(self._connection, TOKEN, 20.0)
        agreed = identity(scenario, plugins, world.data, world.model)
        self._connection.tell("identity", {"identity": agreed, "clients": None})
        self.start()

    def run(self) -> None:
        with suppress(LostError):
            while (frame := self._connection.receive(self._joined.limit)).kind != "stopped":
                if frame.kind not in ("beat", "admitted") and (answer := self._answered(frame)):
                    self._connection.send(answer)
        self._connection.close()

    def _answered(self, frame: Any) -> Any:
        answer = self._joined.answer(frame)
        if answer is None or self._spoil is None:
            return answer
        if isinstance(self._spoil, bytes):
            return [memoryview(self._spoil)]
        value = self._value(answer)
        return encoded("left", value) if self._spoil(value) is not False else None

    def _value(self, answer: Any) -> dict[str, Any]:
        """Return what an encoded answer says, by sending it through a socket."""
        ours, theirs = socket.socketpair()
        sender = threading.Thread(target=lambda: theirs.sendall(b"".join(answer)))
        sender.start()
        connection = Connection.__new__(Connection)
        connection._socket, connection.silence = ours, 5.0
        value: dict[str, Any] = connection.receive(lambda kind: 10**9).value
        sender.join()
        return value


Started = Callable[..., tuple[Federation, Told, Callable[..., Process]]]


@pytest.fixture
def addresses() -> list[tuple[str, int]]:
    """Where the servers of a test listen."""
    return []


@pytest.fixture
def started(tmp_path: Path, addresses: list[tuple[str, int]]) -> Iterator[Started]:
    doors = []

    def start(*overrides: str) -> Any:
        path = tmp_path / "a.yaml"
        path.write_text(SCENARIO)
        scenario = read_scenario(path, overrides)
        plugins, told, listener = make_plugins(scenario), Told(), Listener("127.0.0.1", 0)
        door = _Door(scenario, listener, TOKEN, told)
        doors.append(door)
        host = PluginHost(plugins.hooked)
        federation = make_federation(scenario, plugins, make_world(scenario, plugins), host, door.crew)
        addresses.append(listener.address)
        return federation, told, lambda spoil=None: Process(scenario, listener.address, spoil)

    yield start
    for door in doors:
        door.close("the test is over")


def trained(federation: Federation) -> list[int]:
    """Train a round and return whose uploads were taken."""
    received = federation.train(federation.start_round(0))
    federation.aggregate(received)
    return [sent.upload.client_ids[0] for sent in received]


def nan(value: dict[str, Any]) -> None:
    value["upload"]["weights"][0] = float("nan")


def short(value: dict[str, Any]) -> None:
    value["upload"]["weights"] = value["upload"]["weights"][:-1]


@pytest.mark.parametrize("spoil", [nan, short])
def test_an_upload_that_cannot_be_used_is_dropped_and_its_process_may_stay(started, spoil: Spoil, caplog) -> None:
    federation, told, process = started()
    process(), process(spoil)
    assert trained(federation) == [0, 1]
    assert bool(torch.isfinite(federation.server.weights).all())
    assert told.warnings == []
    assert ("upload.weights must be" in caplog.text) == (spoil is short)


@pytest.mark.parametrize("spoil", [nan, short])
def test_an_upload_that_cannot_be_used_stops_the_run_where_the_scenario_says_so(started, spoil: Spoil) -> None:
    federation, _, process = started("aggregation.nonfinite=stop")
    process(), process(spoil)
    with pytest.raises(RunError, match=r"client 2: .*(NaN or infinity|cannot be used).*aggregation.nonfinite: drop"):
        trained(federation)


LARGE = b'{"kind": "left", "document": {"tensor": 0, "device": "cpu"}, "tensors": [["float32", [99999999999]]]}'
BREACHES = {
    "pickle": (b"\x00\x00\x00\x04\x80\x04N.", "a header that is none of ours"),
    "large": (b"\xff\xff\xff\xff", "a header of 4294967295 bytes, at most 1048576 are allowed"),
    "kind": (b"".join(encoded("uploaded", None)), "sent 'uploaded', for which nobody asked"),
    "size": (len(LARGE).to_bytes(4, "big") + LARGE, "left of 399999999996 bytes, at most "),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_process_that_breaks_the_protocol_is_dropped_with_its_clients(started, name: str) -> None:
    spoil, reason = BREACHES[name]
    federation, told, process = started()
    process(), process(spoil)
    assert trained(federation) == [0, 1]
    assert federation.lost == 2
    assert reason in told.warnings[0]
    assert told.warnings[0].endswith("clients 2-3 are dropped until a process joins in its place")


def test_a_process_that_lives_but_answers_nothing_is_dropped_after_visit_seconds(started) -> None:
    federation, told, process = started()
    process(), process(lambda value: False)
    assert trained(federation) == [0, 1]
    assert "took longer than network.visit_seconds (1 s) for one visit" in told.warnings[0]


def test_a_process_may_join_in_the_place_of_one_that_is_gone(started) -> None:
    federation, _, process = started()
    process(), process(b"\xff\xff\xff\xff")
    assert trained(federation) == [0, 1]
    process()
    deadline = threading.Event()
    while federation.elsewhere._roster.owner(2) is None:
        deadline.wait(0.05)
    assert trained(federation) == [0, 1, 2, 3]


def test_without_any_process_the_run_stops(started) -> None:
    federation, _, process = started("network.processes=1")
    process(b"\xff\xff\xff\xff")
    with pytest.raises(RunError, match=r"every joined process is gone; the last one, process 1 .* a header of"):
        trained(federation)


def test_another_token_is_told_with_the_address_and_without_the_token(started, addresses) -> None:
    _, told, _ = started()
    connection = Connection(socket.create_connection(addresses[0]), 5.0)
    with pytest.raises(RefusedError):
        knock(connection, b"another token of a stranger", 5.0)
    port = connection._socket.getsockname()[1]
    assert told.warnings == [f"127.0.0.1:{port} was refused: the token is not the server's"]


def test_more_processes_than_clients_are_refused_before_anybody_is_waited_for(started) -> None:
    with pytest.raises(ScenarioError, match=r"network.processes must be at most the number of clients \(1\), got 2"):
        started("network=null", "data.clients=1", "algorithm.clients_per_round=1")


def test_too_few_processes_are_waited_for_and_not_longer(started) -> None:
    federation, _, process = started("network.wait_seconds=0.5")
    process()
    with pytest.raises(RunError, match=r"1 of 2 processes joined within network.wait_seconds \(0.5 s\)"):
        trained(federation)
