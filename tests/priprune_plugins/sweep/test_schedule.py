"""A sweep whose jobs run in this process: what is run, what is not, what is recorded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.run import run_scenario
from priprune_plugins.sweep import Sweep
from priprune_plugins.sweep.folder import SweepFolder
from priprune_plugins.sweep.jobs import Job, Outcome
from priprune_plugins.sweep.local import LocalExecutor
from priprune_plugins.sweep.plan import Plan, make_plan
from priprune_plugins.sweep.schedule import run_sweep

MakeSweep = Callable[..., Sweep]
ATTACKS = """\
grid:
  attacks:
    sgi: [{name: sgi, iterations: 2, starts: [uniform], tv: [0.0001]}]
    both: [{name: gi, iterations: 2, starts: [uniform]}, {name: sgi, iterations: 3, starts: [uniform]}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "out")


def start(plan: Plan, folder: SweepFolder, executor: Any) -> dict[str, str]:
    with folder.locked():
        folder.prepare(plan)
        return run_sweep(plan, folder, executor)


def test_cells_that_share_a_training_are_bit_for_bit_what_they_are_alone(
    sweep: MakeSweep, folder: SweepFolder, in_turn: Any, tmp_path: Path, bits: Callable[[Path], dict[str, bytes]]
) -> None:
    plan = make_plan(sweep(ATTACKS))
    assert start(plan, folder, in_turn) == {}
    assert [job.kind for job in in_turn.done] == ["train", "attack", "attack"] and in_turn.closed
    for cell in plan.cells:
        alone = run_scenario(cell.scenario, tmp_path / "alone" / cell.key)
        shared = folder.cells()[cell.key]
        assert bits(shared) == bits(alone)
        assert any(name.endswith(".safetensors") for name in bits(alone))
        assert (shared / "scenario.yaml").read_bytes() == (alone / "scenario.yaml").read_bytes()
        assert {path.name for path in shared.iterdir()} == {path.name for path in alone.iterdir()}
        figures = [json.loads((path / "summary.json").read_text()) for path in (shared, alone)]
        assert {**figures[0], "seconds": 0} == {**figures[1], "seconds": 0}


def test_done_cells_never_run_again_and_new_ones_do(sweep: MakeSweep, folder: SweepFolder, in_turn: Any) -> None:
    start(make_plan(sweep("grid: {attacks: [[]], audit: [null], seed: [1, 2]}\n")), folder, in_turn)
    before = {key: (path / "summary.json").stat().st_mtime_ns for key, path in folder.cells().items()}
    longer = make_plan(sweep("grid: {attacks: [[]], audit: [null], seed: [1, 2, 4]}\n"))
    start(longer, folder, in_turn)
    assert [job.scenario.seed for job in in_turn.done] == [1, 2, 4]
    assert {key: (folder.cells()[key] / "summary.json").stat().st_mtime_ns for key in before} == before


def test_a_training_is_kept_for_attacks_that_come_later(sweep: MakeSweep, folder: SweepFolder, in_turn: Any) -> None:
    start(make_plan(sweep(ATTACKS)), folder, in_turn)
    more = make_plan(sweep(ATTACKS + "    third: [{name: gi, iterations: 1, starts: [uniform]}]\n"))
    start(more, folder, in_turn)
    assert [job.kind for job in in_turn.done] == ["train", "attack", "attack", "attack"]


UNLUCKY = """
from dataclasses import dataclass
from pathlib import Path
from priprune_plugins import hookimpl

@dataclass(frozen=True, eq=False)
class Unlucky:
    fails: bool = True

    @hookimpl
    def on_round_start(self, server):
        if self.fails and not Path(__file__).with_name("mended").exists():
            raise RuntimeError("out of luck")
"""


def test_a_failed_cell_is_recorded_the_others_go_on_and_resume_tries_it_again(
    sweep: MakeSweep, folder: SweepFolder, in_turn: Any, tmp_path: Path
) -> None:
    (tmp_path / "sweep_unlucky.py").write_text(UNLUCKY, encoding="utf-8")
    text = (
        "grid: {attacks: [[]], audit: [null], pruner: {bad: {name: 'sweep_unlucky:Unlucky'}, "
        "good: {name: 'sweep_unlucky:Unlucky', fails: false}}}\n"
    )
    plan = make_plan(sweep(text))
    bad, good = plan.cells
    failed = start(plan, folder, in_turn)
    assert (
        list(failed) == [bad.key] and "Unlucky failed in on_round_start: RuntimeError: out of luck" in failed[bad.key]
    )
    assert folder.states([bad.key, good.key]) == {bad.key: "failed", good.key: "done"}
    assert folder.ledger.last()[bad.key]["error"] == failed[bad.key]
    (trace,) = folder.path.glob("cells/*.part/error.txt")
    assert "Traceback" in trace.read_text() and "out of luck" in trace.read_text()
    (tmp_path / "mended").touch()
    assert start(plan, folder, in_turn) == {}
    assert [job.key for job in in_turn.done] == [bad.key, good.key, bad.key]
    assert not list(folder.path.glob("cells/*.part"))


def test_a_failed_training_fails_the_cells_that_wait_for_it_and_no_other(
    sweep: MakeSweep, folder: SweepFolder, tmp_path: Path
) -> None:
    class NoTraining:
        slots = 4

        def __init__(self) -> None:
            self.jobs: list[Job] = []

        def submit(self, job: Job) -> None:
            self.jobs.append(job)

        def event(self) -> Outcome:
            job = self.jobs.pop()
            return Outcome(job.key, 1.0, "no memory" if job.kind == "train" and job.scenario.seed == 1 else None)

        def close(self) -> None:
            pass

    plan = make_plan(sweep(f"{ATTACKS}  seed: [1, 2]\n"))
    failed = start(plan, folder, NoTraining())
    assert failed == {cell.key: "no memory" for cell in plan.cells if cell.scenario.seed == 1}
    assert len(failed) == 2


def test_an_interrupt_closes_the_executor_and_leaves_the_results_of_what_is_done(
    sweep: MakeSweep, folder: SweepFolder, in_turn: Any
) -> None:
    class Interrupted(type(in_turn)):  # type: ignore[misc]
        def event(self) -> Any:
            if len(self.done) == 2:
                raise KeyboardInterrupt
            return super().event()

    executor = Interrupted()
    plan = make_plan(sweep("grid: {attacks: [[]], audit: [null], seed: [1, 2, 3]}\n"))
    with pytest.raises(KeyboardInterrupt):
        start(plan, folder, executor)
    assert executor.closed
    assert list(folder.states(cell.key for cell in plan.cells).values()) == ["done", "interrupted", "pending"]
    assert len((folder.path / "results.jsonl").read_text().splitlines()) == 1


KILLED = """
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from priprune_plugins import hookimpl

@dataclass(frozen=True, eq=False)
class Killed:
    @hookimpl
    def on_round_start(self, server):
        rounds = Path(__file__).with_name("rounds.txt")
        with rounds.open("a") as lines:
            lines.write(f"{server.round_idx}\\n")
        if server.round_idx == 2 and not Path(__file__).with_name("died").exists():
            Path(__file__).with_name("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.end_to_end
def test_a_shared_training_that_was_killed_goes_on_from_its_checkpoint(
    sweep: MakeSweep, folder: SweepFolder, in_turn: Any, tmp_path: Path, bits: Callable[[Path], dict[str, bytes]]
) -> None:
    (tmp_path / "sweep_killed.py").write_text(KILLED, encoding="utf-8")
    pruner = "  pruner: [{name: 'sweep_killed:Killed'}]\n  rounds: [4]\n  checkpoint.every: [1]\n"
    # A new attack, first in the file, so that another cell is the first of those that wait for the training.
    longer = ATTACKS.replace("attacks:\n", "attacks:\n    new: [{name: gi, iterations: 1, starts: [uniform]}]\n")
    failed = start(make_plan(sweep(ATTACKS + pruner)), folder, LocalExecutor(1, threads=1))
    assert len(failed) == 2 and all("SIGKILL" in error for error in failed.values())
    assert start(make_plan(sweep(longer + pruner)), folder, in_turn) == {}
    # Rounds 0, 1 and the killed 2, then 2 and 3: none before the checkpoint is trained again.
    assert (tmp_path / "rounds.txt").read_text().split() == ["0", "1", "2", "2", "3"]
    whole = SweepFolder(tmp_path / "whole")
    assert start(make_plan(sweep(longer + pruner)), whole, in_turn) == {}
    assert {key: bits(cell) for key, cell in folder.cells().items()} == {
        key: bits(cell) for key, cell in whole.cells().items()
    }
