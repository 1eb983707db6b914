"""One connection between two processes: frames in both directions, each with its time and its size limited."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from priprune_plugins.network.frames import HEADER_BYTES, LENGTH_BYTES, Frame, FrameError, Header, encoded

BEAT = "beat"
BEAT_SECONDS = 1.0
_CHUNK = 2**22
Limit = Callable[[str], int]


class LostError(Exception):
    """The other side is gone, or says nothing any more; the message says which."""


def nothing_large(kind: str) -> int:
    """Return how many bytes of tensors a frame may have that has none."""
    return 0


class Connection:
    """Sends and receives frames.

    Args:
        opened: A connected socket; it belongs to the connection from now on.
        silence: Longest time in seconds in which the other side may neither send nor take a byte.
    """

    def __init__(self, opened: socket.socket, silence: float) -> None:
        self._socket = opened
        self._sending = threading.Lock()
        self.silence = silence
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.settimeout(silence)

    def be_patient(self, silence: float) -> None:
        """Allow another silence from now on."""
        self.silence = silence
        self._socket.settimeout(silence)

    def tell(self, kind: str, value: Any = None) -> None:
        """Send a frame.

        Raises:
            LostError: The other side does not take it.
        """
        self.send(encoded(kind, value))

    def send(self, parts: Sequence[memoryview]) -> None:
        """Send an encoded frame; frames of several threads do not mix.

        Raises:
            LostError: The other side does not take it.
        """
        with self._sending:
            for part in parts:
                self._send(part)

    def _send(self, part: memoryview) -> None:
        while part:
            try:
                part = part[self._socket.send(part[:_CHUNK]) :]
            except TimeoutError as error:
                raise LostError(f"took nothing for {self.silence:g} s") from error
            except OSError as error:
                raise LostError(_broken(error)) from error

    def receive(
        self, limit: Limit = nothing_large, header_bytes: int = HEADER_BYTES, until: float | None = None
    ) -> Frame:
        """Wait for the next frame.

        Args:
            limit: Gives for a kind the most bytes that its tensors may take; nothing is allocated for more. It may
                refuse a kind by a FrameError.
            header_bytes: Most bytes of the header.
            until: ``time.monotonic()`` at which the frame must be whole; None = any time.

        Raises:
            LostError: The other side is gone, silent, or too slow.
            FrameError: What came may not come.
        """
        length = int.from_bytes(self._exactly(LENGTH_BYTES, until), "big")
        if length > header_bytes:
            raise FrameError(f"a header of {length} bytes, at most {header_bytes} are allowed")
        header = Header.of(self._exactly(length, until))
        allowed = limit(header.kind)
        if header.num_bytes > allowed:
            raise FrameError(f"{header.kind} of {header.num_bytes} bytes, at most {allowed} are allowed")
        memory = header.empty()
        for _, part in memory:
            self._fill(part, until)
        return header.frame(memory)

    def _exactly(self, count: int, until: float | None) -> bytes:
        text = bytearray(count)
        self._fill(memoryview(text), until)
        return bytes(text)

    def _fill(self, part: memoryview, until: float | None) -> None:
        while part:
            try:
                if until is not None:
                    self._socket.settimeout(max(0.001, min(self.silence, until - time.monotonic())))
                count = self._socket.recv_into(part[:_CHUNK])
            except TimeoutError as error:
                raise LostError(f"said nothing for {self.silence:g} s" if until is None else "was too slow") from error
            except OSError as error:
                raise LostError(_broken(error)) from error
            if not count:
                raise LostError("closed the connection")
            part = part[count:]

    def beat(self, ended: threading.Event) -> None:
        """Tell the other side once a second that this one lives, until ``ended``.

        Raises:
            LostError: The other side is gone.
        """
        parts = encoded(BEAT)
        while not ended.wait(BEAT_SECONDS):
            self.send(parts)

    def close(self) -> None:
        """End the connection; whoever waits on either side is woken."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _broken(error: OSError) -> str:
    return f"broke the connection ({error.strerror or type(error).__name__})"
