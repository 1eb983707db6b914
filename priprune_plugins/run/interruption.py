"""SIGINT and SIGTERM: the round in hand is finished if it ends in time, everything else is left where it stands."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from priprune_plugins.errors import Interrupted

PATIENCE_SECONDS = 8.0
# An exception that a destructor swallows comes again, so that the process ends within ten seconds.
_AGAIN_SECONDS = 1.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._patient = False

    @property
    def asked(self) -> bool:
        """Whether the run was asked to stop and may end at once."""
        return self._number is not None

    @property
    def number(self) -> int:
        """The signal that asked; Ctrl-C where none did."""
        return self._number or signal.SIGINT

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Inside the block a signal waits: whoever does the work looks at ``asked`` and calls :meth:`now`."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def now(self) -> None:
        """Stop here.

        Raises:
            Interrupted: Always.
        """
        raise Interrupted("interrupted", self.number)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Stop at once, or in time where the work in hand may be finished; the second signal never waits."""
        again, self._number = self.asked, number
        wait = PATIENCE_SECONDS if self._patient and not again else 2 * _AGAIN_SECONDS
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.setitimer(signal.ITIMER_REAL, wait, _AGAIN_SECONDS)
        if again or not self._patient:
            self.now()

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        self.now()


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Let signals stop the block as :class:`Stop` says; outside the main thread they go where they went before."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    found: dict[int, Any] = {number: signal.getsignal(number) for number in (*_SIGNALS, signal.SIGALRM)}
    for asking in _SIGNALS:
        signal.signal(asking, stop.on_signal)
    try:
        yield stop
    finally:
        if stop.asked:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in found.items():
            signal.signal(number, handler)
