"""Both sides prove that they hold the token before either tells the other anything; the token itself is never sent.

A proof is HMAC-SHA256 (RFC 2104) under the token over the prover's role and one random number of each side: a proof of
another connection, or the other side's own proof sent back, fits nowhere.
"""

import hmac
import secrets
import time
from contextlib import suppress
from hashlib import sha256
from typing import Any

from priprune_plugins.network.connection import Connection, LostError
from priprune_plugins.network.frames import Frame, FrameError

PROTOCOL = 1
SECONDS = 10.0
HEADER_BYTES = 1024
_NONCE_BYTES = 32


class RefusedError(Exception):
    """The other side is not let in, or does not let us in; the message says why."""


def let_in(connection: Connection, token: bytes) -> None:
    """Check on the server's side that a stranger holds the token, and prove that the server does.

    Raises:
        RefusedError: It does not; it was told so, and nothing else.
        LostError: It said nothing, or left.
        FrameError: It does not speak our language.
    """
    until = time.monotonic() + SECONDS
    ours = secrets.token_hex(_NONCE_BYTES)
    connection.tell("challenge", {"protocol": PROTOCOL, "nonce": ours})
    answer = _expect(connection.receive(header_bytes=HEADER_BYTES, until=until), "answer")
    theirs = _hex(answer, "nonce")
    if not hmac.compare_digest(_hex(answer, "proof"), _proof(token, "client", ours, theirs)):
        refuse(connection, "the token is not the server's")
    connection.tell("proof", {"proof": _proof(token, "server", ours, theirs)})
    connection.be_patient(connection.silence)


def knock(connection: Connection, token: bytes, wait_seconds: float) -> None:
    """Prove on the client's side that we hold the token, and check that the server does.

    Args:
        connection: To what may be the server.
        token: The token.
        wait_seconds: How long a server that is still busy may take to begin.

    Raises:
        RefusedError: One of the two does not hold the token.
        LostError: The other side said nothing, or left.
        FrameError: It does not speak our language.
    """
    patience = connection.silence
    connection.be_patient(wait_seconds)
    challenge = _expect(connection.receive(header_bytes=HEADER_BYTES), "challenge")
    connection.be_patient(patience)
    if challenge.get("protocol") != PROTOCOL:
        raise RefusedError(f"the server speaks protocol {challenge.get('protocol')!r}, this version speaks {PROTOCOL}")
    theirs, ours = _hex(challenge, "nonce"), secrets.token_hex(_NONCE_BYTES)
    connection.tell("answer", {"nonce": ours, "proof": _proof(token, "client", theirs, ours)})
    proof = _expect(connection.receive(header_bytes=HEADER_BYTES), "proof")
    if not hmac.compare_digest(_hex(proof, "proof"), _proof(token, "server", theirs, ours)):
        raise RefusedError("the server does not hold the token")


def refuse(connection: Connection, reason: str) -> None:
    """Tell the other side why it is not let in.

    Raises:
        RefusedError: Always.
    """
    with suppress(LostError):
        connection.tell("refused", {"reason": reason})
    raise RefusedError(reason)


def _expect(frame: Frame, kind: str) -> dict[str, Any]:
    if frame.kind == "refused" and isinstance(frame.value, dict):
        raise RefusedError(str(frame.value.get("reason"))[:500])
    if frame.kind != kind or not isinstance(frame.value, dict):
        raise FrameError(f"{frame.kind} where {kind} was due")
    return frame.value


def _hex(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str) or len(text) != 2 * _NONCE_BYTES or not text.isascii():
        raise FrameError(f"no {name} in it")
    return text


def _proof(token: bytes, role: str, server_nonce: str, client_nonce: str) -> str:
    return hmac.new(token, f"priprune {PROTOCOL} {role} {server_nonce} {client_nonce}".encode(), sha256).hexdigest()
