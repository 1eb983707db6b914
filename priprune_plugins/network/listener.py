"""The server's door: strangers are heard one apart from the other, so that a silent one keeps nobody out."""

import ipaddress
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from priprune_plugins.errors import RunError, ScenarioError
from priprune_plugins.network.connection import Connection, LostError
from priprune_plugins.network.frames import FrameError
from priprune_plugins.network.handshake import SECONDS, RefusedError

_STRANGERS = 64
_BACKLOG = 128
Receive = Callable[[Connection, str], None]


class Listener:
    """Holds an address, and hands over whoever connects.

    Args:
        host: Address to listen on.
        port: Port; 0 = any free one.

    Attributes:
        address: Host and port, the chosen one where it was 0.

    Raises:
        ScenarioError: The address cannot be had.
    """

    def __init__(self, host: str, port: int) -> None:
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(place)
        except OSError as error:
            raise ScenarioError(
                f"network.host and port: cannot listen on {host}:{port} ({error.strerror}); give another"
            ) from error
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._room = threading.BoundedSemaphore(_STRANGERS)

    def open(self, receive: Receive) -> None:
        """Let strangers in from now on.

        Args:
            receive: Called in a thread of its own with each connection and the name of its other end; it may raise
                RefusedError, LostError and FrameError, and the connection is then closed.
        """
        try:
            self._socket.listen(_BACKLOG)
        except OSError as error:
            raise RunError(f"cannot listen on {self.address[0]}:{self.address[1]} ({error.strerror})") from error
        threading.Thread(target=self._accept, args=(receive,), name="priprune door", daemon=True).start()

    def _accept(self, receive: Receive) -> None:
        while True:
            try:
                stranger, place = self._socket.accept()
            except OSError:
                return
            if not self._room.acquire(blocking=False):
                stranger.close()
                continue
            name = f"{place[0]}:{place[1]}"
            threading.Thread(target=self._hear, args=(receive, stranger, name), daemon=True).start()

    def _hear(self, receive: Receive, stranger: socket.socket, name: str) -> None:
        connection = Connection(stranger, SECONDS)
        try:
            receive(connection, name)
        except (RefusedError, LostError, FrameError):
            connection.close()
        finally:
            self._room.release()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            # Closing alone would not wake the thread that waits.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def reach(host: str) -> str:
    """Return who can reach a server that listens on a host: ``machine``, ``network``, or ``everywhere`` for any.

    Raises:
        ScenarioError: No such host.
    """
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ScenarioError(f"network.host: no address of {host!r} ({error.strerror})") from error
    addresses = [ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
    if any(address.is_unspecified for address in addresses):
        return "everywhere"
    return "machine" if all(address.is_loopback for address in addresses) else "network"
