"""When the next checkpoint is due."""

import time
from collections.abc import Callable

from priprune_plugins.scenario.sections import CheckpointSection

# Writing takes at most this share of a run's time, where checkpoints are made by time.
SHARE = 0.03


class Pace:
    """Says when the next checkpoint is due: every so many rounds, or by time.

    Args:
        section: The scenario's.
        clock: Gives seconds.
    """

    def __init__(self, section: CheckpointSection, clock: Callable[[], float] = time.monotonic) -> None:
        self._section = section
        self._clock = clock
        self._wait = section.seconds
        self._last = clock()

    def due(self, next_round: int) -> bool:
        """Whether one is due now that ``next_round`` would be the next."""
        if self._section.every is not None:
            return next_round % self._section.every == 0
        return self._clock() - self._last >= self._wait

    def wrote(self, seconds: float) -> None:
        """Take note of a checkpoint that has just been written and took so long."""
        self._last = self._clock()
        self._wait = max(self._section.seconds, seconds / SHARE)
