"""The joined processes of a run: who is there, who has which clients, who is gone."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from priprune_plugins.errors import RunError
from priprune_plugins.network.checks import mapping
from priprune_plugins.network.connection import Connection, LostError
from priprune_plugins.network.frames import FrameError, encoded
from priprune_plugins.network.handshake import SECONDS, RefusedError, let_in, refuse
from priprune_plugins.network.identity import difference
from priprune_plugins.network.peer import Peer
from priprune_plugins.network.places import Place, Places, said
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.sections import NetworkSection

_IDENTITY_BYTES = 2**16
_GOODBYE_SECONDS = 3.0


class GoneError(RunError):
    """Nobody is there any more; the run can go on from its last checkpoint."""


@dataclass(frozen=True, eq=False)
class _Member:
    place: Place
    peer: Peer


class Roster:
    """Lets processes in, deals the clients to them, and keeps account of those that go.

    Args:
        section: How long to wait for what.
        token: What a process must hold.
        identity: What it must agree on.
        num_clients: Clients in all.
        watcher: Is told who comes and goes.
    """

    def __init__(
        self,
        section: NetworkSection,
        token: bytes,
        identity: Mapping[str, str],
        num_clients: int,
        watcher: Watcher,
    ) -> None:
        self._section = section
        self._token = token
        self._identity = identity
        self._watcher = watcher
        self._places = Places(num_clients, section.processes)
        self._members: list[_Member] = []
        self._owners: dict[int, Peer] = {}
        self._changed = threading.Condition()
        self._last_words = ""

    def receive(self, connection: Connection, name: str) -> None:
        """Let a stranger in, or refuse it; called in a thread of its own.

        Raises:
            RefusedError, LostError, FrameError: It is not let in.
        """
        try:
            let_in(connection, self._token)
        except RefusedError as error:
            self._watcher.warn(f"{name} was refused: {error}")
            raise
        wish = self._agreed(connection, name)
        with self._changed:
            try:
                place = self._places.take(wish)
            except RefusedError as error:
                self._refuse(connection, name, str(error))
            member = _Member(place, self._peer(connection, f"process {place.number} ({name})"))
            self._members.append(member)
            self._changed.notify_all()
            member.peer.start()
            self._welcome(member)

    def _agreed(self, connection: Connection, name: str) -> range | None:
        """Return which clients a process asks for that fits into the run."""
        frame = connection.receive(header_bytes=_IDENTITY_BYTES, until=time.monotonic() + SECONDS)
        about = mapping(frame.value, frame.kind)
        theirs = mapping(about.get("identity"), "identity")
        if reason := difference(self._identity, theirs):
            self._refuse(connection, name, reason)
        if theirs.get("torch") != self._identity["torch"]:
            versions = f"{str(theirs.get('torch'))[:40]}, here it is {self._identity['torch']}"
            self._watcher.warn(f"{name} has torch {versions}: last bits may differ from a standalone run's")
        return _wish(about.get("clients"))

    def _refuse(self, connection: Connection, name: str, reason: str) -> None:
        self._watcher.warn(f"{name} was refused: {reason}")
        refuse(connection, reason)

    def _peer(self, connection: Connection, name: str) -> Peer:
        connection.be_patient(self._section.timeout_seconds)
        return Peer(connection, name, self._section.visit_seconds, self._gone)

    def _welcome(self, member: _Member) -> None:
        peer = member.peer
        try:
            peer.send(encoded("admitted", {"place": member.place.number, "threads": torch.get_num_threads()}))
        except LostError:
            return
        if self._places.dealt:
            self._assign(member)
            self._watcher.say(f"{peer.name} joined again, with clients {said(member.place.clients)}")
        else:
            missing = f"{self._places.missing} more to come" if self._places.missing else "all are here"
            self._watcher.say(f"{peer.name} joined, {missing}")

    def _assign(self, member: _Member) -> None:
        member.peer.clients = member.place.clients
        self._owners.update(dict.fromkeys(member.place.clients, member.peer))
        # One that is gone has been told of, and is a member no more.
        with suppress(LostError):
            member.peer.send(encoded("clients", {"clients": list(member.place.clients)}))

    def _gone(self, peer: Peer, reason: str) -> None:
        with self._changed:
            member = next((member for member in self._members if member.peer is peer), None)
            if member is None:
                return
            self._members.remove(member)
            self._places.leave(member.place)
            self._owners = {client_id: owner for client_id, owner in self._owners.items() if owner is not peer}
            self._last_words = f"{peer.name} {reason}"
            lost = f"clients {said(member.place.clients)} are dropped until a process joins in its place"
            self._watcher.warn(f"{self._last_words}{f': {lost}' if self._places.dealt else ''}")
            self._changed.notify_all()

    def gather(self) -> None:
        """Wait until all processes have joined, and deal the clients to them; later calls return at once.

        Raises:
            RunError: They did not come in time.
            ScenarioError: Clients are left over, since every process has asked for its own.
        """
        deadline = time.monotonic() + self._section.wait_seconds
        with self._changed:
            while not self._places.dealt and self._places.missing:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    here = self._section.processes - self._places.missing
                    raise RunError(
                        f"{here} of {self._section.processes} processes joined within network.wait_seconds "
                        f"({self._section.wait_seconds:g} s): start the others with priprune join"
                    )
            if self._places.dealt:
                return
            self._places.deal()
            for member in list(self._members):
                self._assign(member)
                self._watcher.say(f"{member.peer.name} has clients {said(member.place.clients)}")

    def owner(self, client_id: int) -> Peer | None:
        """Return the process that has a client now, or None."""
        with self._changed:
            return self._owners.get(client_id)

    def here(self) -> list[Peer]:
        """Return the processes that are there, by place."""
        with self._changed:
            members = sorted(self._members, key=lambda member: member.place.number)
            return [member.peer for member in members]

    def peers(self) -> list[Peer]:
        """Return the processes that are there, by place.

        Raises:
            GoneError: There is none any more.
        """
        found = self.here()
        if not found:
            raise GoneError(f"every joined process is gone; the last one, {self._last_words}")
        return found

    def let_go(self, kind: str, value: Any = None) -> None:
        """Send every process a last frame and forget it."""
        with self._changed:
            members, self._members, self._owners = self._members, [], {}
        parts: Sequence[memoryview] = encoded(kind, value)
        for member in members:
            member.peer.let_go(parts)
        deadline = time.monotonic() + _GOODBYE_SECONDS
        for member in members:
            member.peer.close(max(0.0, deadline - time.monotonic()))


def _wish(found: Any) -> range | None:
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != 2 or not all(type(end) is int for end in found):
        raise FrameError("clients that are no range")
    return range(found[0], found[1])
