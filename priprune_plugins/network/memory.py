"""What the server knows of what clients remember: that they do, and where it was written down, but not what."""

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from priprune_plugins.errors import ScenarioError
from priprune_plugins.network.checks import mapping, part
from priprune_plugins.network.connection import LostError
from priprune_plugins.network.frames import encoded
from priprune_plugins.network.peer import Peer
from priprune_plugins.network.places import said

_logger = logging.getLogger(__name__)


def check_kept(remembered: Mapping[str, Any]) -> None:
    """Refuse to go on without what clients remembered.

    Args:
        remembered: What :meth:`Memory.written` gave.

    Raises:
        ScenarioError: It was never written down.
    """
    if not remembered["kept"]:
        raise ScenarioError(
            "what clients remembered is gone with a process that joined without --states: begin anew with another "
            "--out, and let every process join with --states DIR"
        )


class Memory:
    """Lets joined processes write down what their clients remember, and take it back when the run is resumed."""

    def __init__(self) -> None:
        self._remember = False
        self._kept = True
        self._clients: list[int] = []
        self._run, self._save = secrets.token_hex(8), 0

    def note(self, answer: Any) -> None:
        """Note whether a process remembers anything, which each of its answers says."""
        if part(mapping(answer, "answer"), "remembers") is True:
            self._remember = True

    def written(self, peers: Sequence[Peer]) -> Mapping[str, Any]:
        """Let processes write down what their clients remember, at the same time.

        Args:
            peers: Those that are there; where nobody is, the last answer stands.

        Returns:
            What :meth:`take_back` needs. Clients whose process is gone have forgotten everything, and are left out.
        """
        if self._remember and peers:
            self._save += 1
            asked = [(peer, peer.work.submit(self._told, peer, "save", "saved")) for peer in peers]
            answers = [(peer, future.result()) for peer, future in asked]
            self._kept = all(answer is not False for _, answer in answers)
            wrote = [peer for peer, answer in answers if answer is True]
            self._clients = sorted(client_id for peer in wrote for client_id in peer.clients)
        return {
            "remember": self._remember,
            "kept": self._kept,
            "clients": list(self._clients),
            "run": self._run,
            "save": self._save,
        }

    def take_back(self, peers: Sequence[Peer], next_round: int, remembered: Mapping[str, Any]) -> None:
        """Let processes take back what their clients remembered.

        Args:
            peers: All of them.
            next_round: The round that the run goes on with.
            remembered: What :meth:`written` gave.

        Raises:
            ScenarioError: One of them does not have it.
        """
        self._remember, self._run, self._save = True, remembered["run"], remembered["save"]
        written = set(remembered["clients"])
        for peer in peers:
            there = written.intersection(peer.clients)
            if self._told(peer, "resume", "resumed") is True:
                continue
            if there:
                raise ScenarioError(
                    f"{peer.name} does not hold what its clients remembered before round {next_round}: join with the "
                    "--states folders of the processes that were there, and the same --clients"
                )
            _logger.warning(
                "clients %s start anew: their process was gone when the checkpoint was written", said(peer.clients)
            )

    def _told(self, peer: Peer, kind: str, answer: str) -> Any:
        """Return what a process answers, or None where it is gone."""
        try:
            return peer.ask(encoded(kind, {"run": self._run, "save": self._save}), answer, 0).value
        except LostError:
            return None
