"""What the command line of ``priprune join`` asks for, read and checked without torch."""

import re
import socket

from priprune_plugins.errors import ScenarioError

_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")


def clients_asked(text: str) -> range:
    """Return the clients of ``--clients FIRST-LAST``.

    Raises:
        ScenarioError: It does not read so.
    """
    found = _RANGE.fullmatch(text)
    if not found or int(found[1]) > int(found[2]):
        raise ScenarioError(f"--clients must be FIRST-LAST, for instance 0-96, got {text[:60]!r}")
    return range(int(found[1]), int(found[2]) + 1)


def server_asked(text: str) -> tuple[str, int]:
    """Return host and port of ``--connect HOST:PORT``.

    Raises:
        ScenarioError: It does not read so.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ScenarioError(f"--connect must be HOST:PORT, got {text[:60]!r}")
    return host.strip("[]"), int(port)


def check_resolves(host: str, key: str) -> None:
    """Refuse a host without an address: a server that is late may come, a name that is wrong stays so.

    A name server that cannot answer now may do so when the server has come: whoever connects asks it again.

    Args:
        host: Name or address.
        key: Where it was given, for the message.

    Raises:
        ScenarioError: It has none, and will have none.
    """
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) == socket.EAI_AGAIN:
            return
        reason = getattr(error, "strerror", None) or "it is no name"
        raise ScenarioError(
            f"{key}: no address of {host[:60]!r} ({reason}); give the server's name or address"
        ) from error
