"""The server's side of one joined process."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from priprune_plugins.network.connection import BEAT, Connection, LostError
from priprune_plugins.network.frames import Frame, FrameError

FAILED = "failed"


@dataclass(frozen=True)
class _Due:
    """What may come next.

    Args:
        kind: Its kind.
        limit: Most bytes of its tensors.
    """

    kind: str
    limit: int


class Peer:
    """Asks a joined process, one question at a time, and notices when it is gone.

    Args:
        connection: To it; it has been let in.
        name: How messages name it.
        visit_seconds: Longest that an answer may take.
        gone: Called once with the reason when it is gone, from any thread.

    Attributes:
        work: Runs what asks it, one after the other, in a thread that may wait for the answers.
        clients: Those that live there, once they are dealt.
        broadcast: Which broadcast it was sent last.
    """

    def __init__(
        self, connection: Connection, name: str, visit_seconds: float, gone: Callable[["Peer", str], None]
    ) -> None:
        self._connection = connection
        self.name = name
        self._visit_seconds = visit_seconds
        self._gone = gone
        self._answers: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._due: _Due | None = None
        self._asking = threading.Lock()
        self._closing = threading.Lock()
        self._ended = threading.Event()
        self._deaf = threading.Event()
        self.work = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"priprune {name}")
        self.clients: Sequence[int] = ()
        self.broadcast: object = None

    @property
    def alive(self) -> bool:
        """Whether it has neither gone nor been let go."""
        return not self._ended.is_set()

    def start(self) -> None:
        """Listen to it, and tell it that the server lives."""
        for work in (self._listen, self._beat):
            threading.Thread(target=work, name=f"priprune {self.name}", daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                frame = self._connection.receive(self._limit)
                if frame.kind == FAILED:
                    self.drop(f"failed: {str(frame.value)[:500]}")
                    return
                if frame.kind != BEAT:
                    self._due = None
                    self._answers.put(frame)
        except (LostError, FrameError) as error:
            self.drop(str(error))
        finally:
            self._deaf.set()

    def _limit(self, kind: str) -> int:
        due = self._due
        if kind in (BEAT, FAILED):
            return 0
        if due is None or kind != due.kind:
            raise FrameError(f"sent {kind!r}, for which nobody asked")
        return due.limit

    def _beat(self) -> None:
        try:
            self._connection.beat(self._ended)
        except LostError as error:
            self.drop(str(error))

    def ask(self, parts: Sequence[memoryview], kind: str, limit: int) -> Frame:
        """Send a question and return the answer.

        Args:
            parts: The encoded question.
            kind: What the answer must be.
            limit: Most bytes of its tensors.

        Raises:
            LostError: It is gone, or took too long and was dropped.
        """
        with self._asking:
            if not self.alive:
                raise LostError("is gone")
            self._due = _Due(kind, limit)
            self.send(parts)
            try:
                answer = self._answers.get(timeout=self._visit_seconds)
            except queue.Empty:
                self.drop(f"took longer than network.visit_seconds ({self._visit_seconds:g} s) for one visit")
                answer = None
        if answer is None:
            raise LostError("is gone")
        return answer

    def send(self, parts: Sequence[memoryview]) -> None:
        """Send a frame that has no answer.

        Raises:
            LostError: It is gone.
        """
        try:
            self._connection.send(parts)
        except LostError as error:
            self.drop(str(error))
            raise

    def drop(self, reason: str) -> None:
        """End the connection because of what the process did."""
        if self._end():
            self._gone(self, reason)

    def let_go(self, parts: Sequence[memoryview]) -> None:
        """Send a last frame; the process then ends the connection itself."""
        with suppress(LostError):
            self._connection.send(parts)
        self._ended.set()
        self._answers.put(None)

    def close(self, patience: float) -> None:
        """End the connection, the latest after ``patience`` seconds.

        Closed with something of the other side unread, it would be reset, and the last frame could be lost.
        """
        self._deaf.wait(patience)
        self._connection.close()

    def _end(self) -> bool:
        with self._closing:
            if self._ended.is_set():
                return False
            self._ended.set()
        self._connection.close()
        self._answers.put(None)
        return True
