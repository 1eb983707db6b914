"""A sweep small enough to run in seconds: digits at 14x14, two rounds, an attack of two iterations."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from priprune_plugins.sweep import Sweep, read_sweep
from priprune_plugins.sweep.executor import Executor
from priprune_plugins.sweep.folder import SweepFolder
from priprune_plugins.sweep.jobs import Job, Outcome, Progress, perform
from priprune_plugins.sweep.plan import Plan
from priprune_plugins.sweep.schedule import run_sweep

BASE = """\
base:
  seed: 3
  device: cpu
  rounds: 2
  data: {name: digits, size: 14, clients: 6, partition: iid}
  model: {name: small14}
  algorithm: {name: fedavg, clients_per_round: 2, batch_size: 10, lr: 0.1}
  pruner: {name: random, rate: 0.3}
  attacks: [{name: sgi, iterations: 2, starts: [uniform], tv: [0.0001]}]
  audit: {batch_size: 1, victims: 1, rounds: [1]}
  evaluation: {clients: 1}
"""
MakeSweep = Callable[..., Sweep]
Bits = Callable[[Path], dict[str, bytes]]
Swept = Callable[[Plan, str, Executor], tuple[dict[str, str], dict[str, dict[str, bytes]]]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a sweep's file of the small base and what is given after it."""

    def make(rest: str, base: str = BASE) -> Path:
        path = tmp_path / "small.yaml"
        path.write_text(f"{base}{rest}", encoding="utf-8")
        return path

    return make


@pytest.fixture
def sweep(write: Callable[..., Path]) -> MakeSweep:
    return lambda rest, base=BASE: read_sweep(write(rest, base))


class InTurn:
    """An executor that does its jobs in this process, one after the other."""

    slots = 1

    def __init__(self) -> None:
        self.done: list[Job] = []
        self.closed = False

    def submit(self, job: Job) -> None:
        self.done.append(job)

    def event(self) -> Outcome | Progress:
        return perform(self.done[-1])

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def in_turn() -> InTurn:
    return InTurn()


@pytest.fixture(autouse=True)
def threads_untouched() -> Iterator[None]:
    """A job sets the number of threads of its process; in these tests that may be this one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# Kills its own process in the second round, the first time that it comes there.
DEADLY = """
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from priprune_plugins import hookimpl

@dataclass(frozen=True, eq=False)
class Deadly:
    deadly: bool = True

    @hookimpl
    def on_round_start(self, server):
        died = Path(__file__).with_name("died")
        if self.deadly and server.round_idx == 1 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two pruners as an axis: one that kills its process once, and one that does not."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "sweep_deadly", raising=False)
    (tmp_path / "sweep_deadly.py").write_text(DEADLY, encoding="utf-8")
    name = "{name: 'sweep_deadly:Deadly'"
    return f"  pruner: {{deadly: {name}}}, harmless: {name}, deadly: false}}}}\n"


@pytest.fixture
def bits() -> Bits:
    """Give everything of a run folder that must not depend on where it was computed."""

    def read(folder: Path) -> dict[str, bytes]:
        lines = [path for path in (folder / "rounds.jsonl", folder / "privacy.jsonl") if path.is_file()]
        return {path.name: path.read_bytes() for path in (*lines, *sorted(folder.glob("captures/*")))}

    return read


@pytest.fixture
def swept(tmp_path: Path, bits: Bits) -> Swept:
    """Run a plan into a folder; give the errors and the bits of every whole cell, by key."""

    def run(plan: Plan, name: str, executor: Executor) -> tuple[dict[str, str], dict[str, dict[str, bytes]]]:
        folder = SweepFolder(tmp_path / name)
        with folder.locked():
            folder.prepare(plan)
            failed = run_sweep(plan, folder, executor)
        return failed, {key: bits(cell) for key, cell in folder.cells().items()}

    return run
