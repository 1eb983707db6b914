"""A run small enough to be stopped and resumed in seconds, with all that a run can remember."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.errors import Interrupted
from priprune_plugins.run import Watcher

TINY = """\
rounds: 5
data: {name: digits, size: 14, train: 120, test: 40, clients: 6, partition: iid}
model: {name: mlp, hidden: [16]}
algorithm: {name: scaffold, clients_per_round: 3, batch_size: 10}
pruner: {name: random, rate: 0.3}
defenses: [{name: priprune}]
attacks: [{name: gi, iterations: 2, starts: [uniform], tv: [0.0001]}]
audit: {batch_size: 1, victims: 1, rounds: [1, 3]}
evaluation: {clients: 2}
checkpoint: {every: 2}
states: {max_gib: 0}
"""
FILES = ("rounds.jsonl", "privacy.jsonl", "checkpoint/trained/state.safetensors")


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


class Watching(Watcher):
    """Notes what it is told, and does something after a round, or at the first step of an attack.

    Args:
        act: What it does; None = nothing.
        after: After which round; None = at the first step of an attack.
    """

    def __init__(self, act: Callable[[], None] | None = None, after: int | None = None) -> None:
        self.act = act
        self.after = after
        self.warned: list[str] = []
        self.said: list[str] = []
        self.rounds: list[int] = []

    def round_done(self, record: Mapping[str, Any]) -> None:
        self.rounds.append(record["round"])
        if self.act is not None and record["round"] == self.after:
            self.act()

    def attack_progress(self, share: float, loss: float | None = None) -> None:
        if self.act is not None and self.after is None:
            self.act()

    def warn(self, message: str) -> None:
        self.warned.append(message)

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def watching() -> type[Watching]:
    """The class of a watcher that notes what it is told, and may act."""
    return Watching


@pytest.fixture
def interrupted(run: Callable[..., Path]) -> Callable[..., Interrupted]:
    """Run with overrides, with a signal after a round, and return how the run ended."""

    def stop(
        out: str, *overrides: str, after: int | None = 2, number: int = signal.SIGINT, match: str | None = None
    ) -> Interrupted:
        with pytest.raises(Interrupted, match=match) as caught:
            run(out, *overrides, watcher=Watching(lambda: os.kill(os.getpid(), number), after))
        return caught.value

    return stop


@pytest.fixture
def same() -> Callable[[Path, Path], None]:
    """Compare the bytes of two run folders."""

    def check(one: Path, other: Path) -> None:
        for name in FILES:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
        rounds = [json.loads(line)["round"] for line in (other / "timing.jsonl").read_text().splitlines()]
        assert rounds == list(range(5))
        assert sorted(path.name for path in (one / "captures").iterdir()) == sorted(
            path.name for path in (other / "captures").iterdir()
        )

    return check
