"""What the server sends to a joined process, read while that process works: a dead server is noticed at once."""

import _thread
import queue
import threading

from priprune_plugins.network.connection import BEAT, Connection, Limit, LostError
from priprune_plugins.network.frames import Frame, FrameError

# The server says once a second that it lives.
SILENCE_SECONDS = 8.0


class Inbox:
    """Reads frames in a thread of its own and hands them out one by one.

    Args:
        connection: To the server, both sides having proved themselves.
        limit: Most bytes of a frame's tensors.

    Attributes:
        lost: Why there is no server any more, or None.
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
        connection.be_patient(SILENCE_SECONDS)
        for work in (self._read, self._beat):
            threading.Thread(target=work, name="priprune server", daemon=True).start()

    def _read(self) -> None:
        try:
            while True:
                frame = self._connection.receive(self._limit)
                if frame.kind != BEAT:
                    self._frames.put(frame)
        except (LostError, FrameError) as error:
            self._lose(str(error))

    def _beat(self) -> None:
        try:
            self._connection.beat(self._ended)
        except LostError as error:
            self._lose(str(error))

    def _lose(self, reason: str) -> None:
        with self._state:
            self.lost = self.lost or reason
            if self._busy and self._interrupts:
                # A visit may take hours, and nobody waits for what it leaves.
                _thread.interrupt_main()
        self._frames.put(None)

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

    def close(self) -> None:
        """Stop telling the server that this process lives, and end the connection."""
        with self._state:
            self._busy = False
        self._ended.set()
        self._connection.close()
