"""How a run tells whoever started it what it is doing; the command line draws a progress bar from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Watcher:
    """Does nothing; subclasses override what they show."""

    def begin(self, name: str, rounds: int) -> None:
        """Training begins."""

    def round_done(self, record: Mapping[str, Any]) -> None:
        """A round is done; ``record`` is its line in rounds.jsonl."""

    def attack_begins(self, attack: str, uploads: int) -> None:
        """An attack begins on so many uploads."""

    def attack_progress(self, share: float, loss: float | None = None) -> None:
        """Share of the current attack that is done, in [0, 1], and where it gives one its loss now."""

    def attack_done(self, attack: str) -> None:
        """An attack is done."""

    def resumed(self, rounds: int) -> None:
        """Training goes on where a checkpoint left it; so many rounds are done."""

    def say(self, message: str) -> None:
        """Something that the user should know."""

    def warn(self, message: str) -> None:
        """Something went wrong that does not stop the run."""

    def finish(self, folder: Path, summary: Mapping[str, Any]) -> None:
        """Everything is written into a run folder, ``summary`` among it."""
