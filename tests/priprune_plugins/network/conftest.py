"""Servers and joined processes: each a fork of one process that has imported torch, which saves seconds a start."""

import multiprocessing
import os
import re
import runpy
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.network.connection import Connection

TOKEN = "0123456789abcdef0123456789abcdef"
SMALL = """
name: small
seed: 5
device: cpu
rounds: 4
data: {name: digits, size: 14, train: 240, test: 60, clients: 6, partition: iid}
model: {name: mlp, hidden: [16]}
algorithm: {name: fedavg, clients_per_round: 4, batch_size: 5, lr: 0.1}
network: {port: 0, processes: 2, timeout_seconds: 3, wait_seconds: 120}
checkpoint: {every: 1}
"""
PRELOADED = ["priprune_plugins.network.serve", "priprune_plugins.network.join", "priprune_plugins.cli.progress"]
PATIENCE = 120.0


def waited(what: Callable[[], Any], why: Callable[[], str]) -> Any:
    """Return the first true value of ``what``."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(why())


class Command:
    """One running command."""

    def __init__(self, context: Any, log: Path, argv: list[str]) -> None:
        self.log = log
        program = str(Path(__file__).with_name("command.py"))
        told = {"ARGV": argv, "LOG": str(log)}
        self.process = context.Process(target=runpy.run_path, args=(program, told, "__main__"), daemon=True)
        self.process.start()

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def says(self, text: str) -> str:
        return str(waited(lambda: text in self.said and self.said, lambda: f"{text!r} was never said: {self.said}"))

    def sees(self, what: Callable[[], Any]) -> Any:
        """Wait for the first true value of ``what``, and return it."""
        return waited(what, lambda: self.said)

    def kill(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def code(self) -> int:
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, self.said
        return int(self.process.exitcode)


class Commands:
    """Starts commands in one folder and ends those that a test leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)
        self.started: list[Command] = []
        self.scenario = folder / "small.yaml"
        self.scenario.write_text(SMALL)
        self.token = self.secret(TOKEN)

    def secret(self, token: str) -> Path:
        path = self.folder / f"token{len(list(self.folder.glob('token*')))}"
        path.write_text(token)
        path.chmod(0o600)
        return path

    def start(self, *argv: object) -> Command:
        log = self.folder / f"{len(self.started)}.log"
        self.started.append(Command(self.context, log, [str(one) for one in argv]))
        return self.started[-1]

    def run(self, out: str, *overrides: str) -> Path:
        command = self.start("run", self.scenario, "--out", self.folder / out, "--quiet", *_set(overrides))
        assert command.code() == 0, command.said
        return self.folder / out

    def serve(self, out: str, *overrides: str, options: tuple[str, ...] = ()) -> tuple[Command, str]:
        server = self.start(
            "serve",
            self.scenario,
            *("--out", self.folder / out, "--token-file", self.token, *options, *_set(overrides)),
        )
        return server, re.findall(r"at (\S+:\d+)", server.says(" processes at "))[-1]

    def join(self, where: str, *overrides: str, token: Path | None = None, options: tuple[object, ...] = ()) -> Command:
        return self.start(
            "join",
            self.scenario,
            *("--connect", where, "--token-file", token or self.token, *options, *_set(overrides)),
        )

    def end(self) -> None:
        for command in self.started:
            if command.process.is_alive():
                command.kill(signal.SIGKILL)


def _set(overrides: tuple[str, ...]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection with a patience of 5 s, and the bare socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    connection = Connection(ours, 5.0)
    yield connection, theirs
    connection.close()
    theirs.close()


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    found = Commands(tmp_path)
    yield found
    found.end()
