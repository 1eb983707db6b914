"""The local executor, with real processes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.run.process_environment import environment
from priprune_plugins.sweep import Sweep, read_sweep
from priprune_plugins.sweep.folder import SweepFolder
from priprune_plugins.sweep.ledger import Ledger
from priprune_plugins.sweep.local import LocalExecutor
from priprune_plugins.sweep.plan import make_plan

MakeSweep = Callable[..., Sweep]
Swept = Callable[..., Any]
GRID = """\
grid:
  seed: [1, 2]
  attacks: [[{name: sgi, iterations: 2, starts: [uniform]}], [{name: gi, iterations: 2, starts: [uniform]}]]
"""
NO_ATTACK = "grid:\n  attacks: [[]]\n  audit: [null]\n"


NOTING = """
import os
import torch
from dataclasses import dataclass
from pathlib import Path
from priprune_plugins import hookimpl

@dataclass(frozen=True, eq=False)
class Noting:
    @hookimpl
    def on_run_start(self, run):
        found = (os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads())
        Path(__file__).with_name(f"noted-{os.getpid()}").write_text(repr(found))
"""


@pytest.mark.end_to_end
def test_two_workers_each_with_its_share_give_the_bits_of_one_cell_after_the_other(
    sweep: MakeSweep, swept: Swept, in_turn: Any, tmp_path: Path
) -> None:
    (tmp_path / "sweep_noting.py").write_text(NOTING, encoding="utf-8")
    plan = make_plan(sweep(GRID + "  pruner: [{name: 'sweep_noting:Noting'}]\n"))
    # The base says device: cpu, so that GPUs that are not there may be dealt.
    failed, spread = swept(plan, "spread", LocalExecutor(2, threads=1, gpus=["7", "3"]))
    assert failed == {} and len(spread) == 4
    noted = [path.read_text() for path in tmp_path.glob("noted-*")]
    assert sorted(noted) == ["('3', '1', 1)", "('7', '1', 1)"]
    assert spread == swept(plan, "in-turn", in_turn)[1]


@pytest.mark.end_to_end
def test_a_worker_that_dies_fails_its_cell_and_the_next_cell_gets_a_new_one(
    sweep: MakeSweep, swept: Swept, deadly: str, in_turn: Any
) -> None:
    plan = make_plan(sweep(NO_ATTACK + deadly))
    first, second = plan.cells
    failed, done = swept(plan, "out", LocalExecutor(1, threads=1))
    assert list(failed) == [first.key] and "its process died: signal SIGKILL" in failed[first.key]
    assert list(done) == [second.key]
    # It has died once; what it left is gone on with.
    failed, done = swept(plan, "out", in_turn)
    assert failed == {} and set(done) == {first.key, second.key}
    assert done == swept(plan, "whole", in_turn)[1]


def started(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "priprune_plugins.cli", "sweep", *arguments, "--quiet"])


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[bytes]) -> Any:
    deadline = time.monotonic() + 240
    while not (found := condition()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    return found


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pgrep") is None, reason="no pgrep, which finds the worker: apt-get install procps")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_sweep_that_is_stopped_goes_on_to_the_same_bits(
    number: int,
    code: int,
    write: Callable[..., Path],
    tmp_path: Path,
    swept: Swept,
    in_turn: Any,
    bits: Callable[[Path], dict[str, bytes]],
) -> None:
    path = write("grid: {seed: [1, 2, 3]}\n")
    out = tmp_path / "out"
    process = started([str(path), "--workers", "1", "--out", str(out)])
    ledger = Ledger(out / "ledger.jsonl")
    wait_for(lambda: "done" in [line["state"] for line in ledger.last().values()], process)
    worker = int(subprocess.run(["pgrep", "-P", str(process.pid), "-f", "spawn_main"],
                                capture_output=True, text=True, check=True).stdout.split()[0])  # fmt: skip
    process.send_signal(number)
    assert process.wait(timeout=30) == code
    done = {key: (cell / "summary.json").stat().st_mtime_ns for key, cell in SweepFolder(out).cells().items()}
    assert 1 <= len(done) < 3
    deadline = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and "zombie" not in Path(f"/proc/{worker}/status").read_text():
        assert time.monotonic() < deadline, "the worker outlived its sweep"
        time.sleep(0.2)
    assert started([str(path), "--resume", "--out", str(out)]).wait(timeout=240) == 0
    cells = SweepFolder(out).cells()
    assert {key: (cells[key] / "summary.json").stat().st_mtime_ns for key in done} == done
    whole = swept(make_plan(read_sweep(path)), "whole", in_turn)[1]
    assert {key: bits(cell) for key, cell in cells.items()} == whole


def test_a_worker_has_its_share_of_the_threads_and_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error::ResourceWarning")
    found = environment(3)
    assert (found["OMP_NUM_THREADS"], found["MKL_NUM_THREADS"], found["OMP_WAIT_POLICY"]) == ("3", "3", "PASSIVE")
    assert found["PYTHONWARNINGS"].startswith("error::ResourceWarning,ignore")
    assert "OMP_NUM_THREADS" not in os.environ or os.environ["OMP_NUM_THREADS"] != "3"
