"""Tells whoever runs a job how far it is, a few times a second at most."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from priprune_plugins.run.watcher import Watcher
from priprune_plugins.sweep.jobs import Progress

_SECONDS_BETWEEN = 0.2


class Reporter(Watcher):
    """Follows one job.

    Args:
        key: The job's.
        tell: Takes what is new; called in the job's own process.
    """

    def __init__(self, key: str, tell: Callable[[Progress], object]) -> None:
        self._key, self._tell_all = key, tell
        self._rounds, self._attack, self._last = 0, "", 0.0

    def begin(self, name: str, rounds: int) -> None:
        self._rounds = rounds

    def round_done(self, record: Mapping[str, Any]) -> None:
        self._tell(f"round {record['round'] + 1}/{self._rounds}")

    def attack_begins(self, attack: str, uploads: int) -> None:
        self._attack = attack

    def attack_progress(self, share: float, loss: float | None = None) -> None:
        self._tell(f"{self._attack} {100 * share:.0f} %")

    def _tell(self, text: str) -> None:
        if time.monotonic() - self._last >= _SECONDS_BETWEEN:
            self._last = time.monotonic()
            self._tell_all(Progress(self._key, text))
