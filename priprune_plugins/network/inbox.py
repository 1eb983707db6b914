"""What the server sends to a joined process, read while that process works: a dead server is noticed at once."""

import _thread
import queue
import threading
from contextlib import suppress

from priprune_plugins.network.connection import BEAT, Connection, Limit, LostError
from priprune_plugins.network.frames import Frame, FrameError

# The server says once a second that it lives.
SILENCE_SECONDS = 8.0
# After one of these the server says nothing more.
LAST = frozenset({"done", "stopped", "refused"})


class Inbox:
    """Reads frames in a thread of its own and hands them out one by one.

    Args:
        connection: To the server, both sides having proved themselves.
        limit: Most bytes of a frame's tensors.

    Attributes:
        lost: Why there is no server any more, or None.
        last: Its last words, where it had any.
    """

    def __init__(self, connection: Connection, limit: Limit) -> None:
        self._connection = connection
        self._limit = limit
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._state = threading.Lock()
        self._busy = False
        self._ended = threading.Event()
        self._interrupts = threading.current_thread() is threading.main_thread()
        self.lost: str | None = None
        self.last: Frame | None = None
        connection.be_patient(SILENCE_SECONDS)
        for work in (self._read, self._beat):
            threading.Thread(target=work, name="priprune server", daemon=True).start()

    def _read(self) -> None:
        try:
            while (frame := self._connection.receive(self._limit)).kind not in LAST:
                if frame.kind != BEAT:
                    self._frames.put(frame)
            self._lose("ended", frame)
        except (LostError, FrameError) as error:
            self._lose(str(error))

    def _beat(self) -> None:
        try:
            self._connection.beat(self._ended)
        except LostError as error:
            self._lose(str(error))

    def _lose(self, reason: str, last: Frame | None = None) -> None:
        with self._state:
            if self.lost is not None:
                return
            self.lost, self.last = reason, last
            if self._busy and self._interrupts:
                # A visit may take hours, and nobody waits for what it leaves.
                _thread.interrupt_main()
        self._frames.put(last)

    def next(self) -> Frame:
        """Wait for the next frame; whoever took the last one has done what it asked.

        Raises:
            LostError: The server is gone.
        """
        with self._state:
            self._busy = False
        frame = self._frames.get()
        with self._state:
            if frame is None:
                raise LostError(str(self.lost))
            self._busy = self.lost is None
        return frame

    def rest(self) -> None:
        """Interrupt the main thread no more."""
        # The one interrupt that there may be can be on its way, and fall into either of two tries.
        for _ in range(2):
            with suppress(KeyboardInterrupt), self._state:
                self._busy = False

    def close(self) -> None:
        """Stop telling the server that this process lives, and end the connection."""
        self.rest()
        self._ended.set()
        self._connection.close()
