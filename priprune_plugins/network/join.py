"""``priprune join``: be some of the clients of a server."""

import socket
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from priprune_plugins.errors import Interrupted, PriPruneError, RunError, ScenarioError
from priprune_plugins.network.checks import mapping, part, whole
from priprune_plugins.network.connection import Connection, LostError
from priprune_plugins.network.frames import Frame, FrameError
from priprune_plugins.network.handshake import RefusedError, knock
from priprune_plugins.network.identity import identity
from priprune_plugins.network.inbox import LAST, SILENCE_SECONDS, Inbox
from priprune_plugins.network.joined import Joined
from priprune_plugins.network.peer import FAILED
from priprune_plugins.network.places import said
from priprune_plugins.network.token import VARIABLE
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import Plugins, make_plugins, make_world
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.sections import NetworkSection
from priprune_plugins.scenario.whole import Scenario

_SECONDS_BETWEEN = 0.5
_AT_CLIENTS = ("on_setup_round", "on_local_train_start", "on_local_step", "on_local_train_end", "before_upload")


@dataclass(frozen=True)
class Joining:
    """How a process joins.

    Args:
        host: The server's host.
        port: Its port.
        token: What both must hold.
        clients: The clients that it wants to be, or None for those that the server deals it.
        folder: Where what clients remember is kept, so that the run can be resumed; None = nowhere.
    """

    host: str
    port: int
    token: bytes
    clients: range | None = None
    folder: Path | None = None


def join(scenario: Scenario, joining: Joining, watcher: Watcher | None = None) -> int:
    """Be some of the clients of a server until it has done; return how many visits were carried out.

    Args:
        scenario: The server's, checked.
        joining: Where to, as whom.
        watcher: Is told what happens.

    Raises:
        ScenarioError: The server runs another scenario, another version, or has no place.
        RunError: No server came, or it went away.
        PluginError: A plugin failed; the server was told, and goes on without these clients.
        Interrupted: Ctrl-C.
    """
    watcher = watcher or Watcher()
    section = scenario.network or NetworkSection()
    plugins = make_plugins(scenario)
    if joining.folder is None and may_remember(plugins):
        watcher.warn(
            "without --states what clients remember ends with this process: once the server has stopped, its run "
            "cannot be gone on with; --states DIR keeps it"
        )
    world = make_world(scenario, plugins)
    agreed = identity(scenario, plugins, world.data, world.model)
    joined = Joined(scenario, plugins, world, joining.folder)
    asked = joining.clients or joined.kept.asked_before()
    try:
        connection = _reached(joining, section.wait_seconds, watcher)
        try:
            _introduce(connection, replace(joining, clients=asked), agreed, section.wait_seconds)
            _work(connection, joined, watcher)
        finally:
            connection.close()
    finally:
        joined.close()
    return joined.visits


def may_remember(plugins: Plugins) -> bool:
    """Whether the algorithm remembers clients, or a pruner or a defence has a hook in which it could."""
    chosen = PluginHost(plugins.hooked).only(("pruners", "defenses"))
    return plugins.algorithm.stateful or any(chosen.implements(hook) for hook in _AT_CLIENTS)


def _reached(joining: Joining, seconds: float, watcher: Watcher) -> Connection:
    """Connect to the server, which may not be there yet."""
    deadline, told = time.monotonic() + seconds, False
    where = f"{joining.host}:{joining.port}"
    while True:
        try:
            opened = socket.create_connection((joining.host, joining.port), SILENCE_SECONDS)
            return Connection(opened, SILENCE_SECONDS)
        except OSError as error:
            if time.monotonic() > deadline:
                reason = error.strerror or type(error).__name__
                raise RunError(f"no server at {where} within network.wait_seconds ({seconds:g} s): {reason}") from error
        if not told:
            watcher.say(f"waiting for a server at {where}")
            told = True
        time.sleep(_SECONDS_BETWEEN)


def _introduce(connection: Connection, joining: Joining, agreed: dict[str, str], wait_seconds: float) -> None:
    where = f"{joining.host}:{joining.port}"
    try:
        knock(connection, joining.token, wait_seconds)
        clients = None if joining.clients is None else [joining.clients.start, joining.clients.stop]
        connection.tell("identity", {"identity": agreed, "clients": clients})
    except RefusedError as error:
        raise ScenarioError(
            f"the server at {where} does not let us in: {error}; give its own by --token-file or {VARIABLE}"
        ) from error
    except LostError as error:
        raise RunError(f"the server at {where} {error} before it let us in") from error
    except FrameError as error:
        raise ScenarioError(f"what listens at {where} is no priprune server: {error}") from error


def _work(connection: Connection, joined: Joined, watcher: Watcher) -> None:
    inbox = Inbox(connection, joined.limit)
    try:
        _answer(connection, inbox, joined, watcher)
    except (LostError, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) and inbox.lost is None:
            _tell(connection, "it was interrupted")
            raise Interrupted("interrupted; the server goes on without these clients", 2) from error
        inbox.rest()
        if inbox.last is None:
            raise RunError(f"the server is gone: it {inbox.lost or error}") from error
        _heed(inbox.last)
    except FrameError as error:
        _tell(connection, str(error))
        raise RunError(f"the server speaks another language: {error}") from error
    except PriPruneError as error:
        _tell(connection, str(error))
        raise
    finally:
        inbox.close()


def _answer(connection: Connection, inbox: Inbox, joined: Joined, watcher: Watcher) -> None:
    while True:
        frame = inbox.next()
        if frame.kind in LAST:
            _heed(frame)
            return
        if frame.kind == "admitted":
            joined.use_threads(whole(part(mapping(frame.value, "admission"), "threads"), "threads", least=1))
            watcher.say("joined; waiting for the others")
            continue
        answer = joined.answer(frame)
        if frame.kind == "clients":
            watcher.say(f"clients {said(sorted(joined.clients))} live here")
        if answer is not None:
            connection.send(answer)


def _heed(last: Frame) -> None:
    """End as the server's last words say.

    Raises:
        RunError: It stopped before the run was done.
        ScenarioError: It does not let this process take part.
    """
    if last.kind == "stopped":
        raise RunError(f"the server stopped: {last.value}")
    if last.kind == "refused":
        raise ScenarioError(f"the server refuses: {mapping(last.value, 'refusal').get('reason')}")


def _tell(connection: Connection, reason: str) -> None:
    with suppress(LostError):
        connection.tell(FAILED, reason)
