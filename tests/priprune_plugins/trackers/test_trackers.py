"""Trackers with the real packages, offline, in runs of three rounds; each skipped where its package is absent."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.errors import PluginError, ScenarioError
from priprune_plugins.run import run_scenario
from priprune_plugins.scenario import read_scenario
from priprune_plugins.trackers.tensorboard import TensorBoard
from priprune_plugins.trackers.wandb import Wandb

SCENARIO = """\
name: tracked
seed: 3
device: cpu
rounds: 3
data: {name: digits, size: 14, clients: 6, partition: iid}
model: {name: small14}
algorithm: {name: fedavg, clients_per_round: 2, batch_size: 10, lr: 0.1}
pruner: {name: random, rate: 0.3}
evaluation: {every: 1, clients: 1}
checkpoint: {every: 1}
"""
# In a process of its own, which wandb and trackio leave threads in; every connection beyond this machine is an error.
ALONE = """\
import sys
from pathlib import Path

def refuse(event, arguments):
    address = arguments[1] if event == "socket.connect" else None
    # A path is a socket of this machine's own.
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        Path(sys.argv[3]).write_text(repr(address))

sys.addaudithook(refuse)
from priprune_plugins.cli import main
sys.exit(main(["run", sys.argv[1], "--out", sys.argv[2], "--quiet"]))
"""
Tracked = Callable[[str], Path]


def needs(package: str) -> Any:
    reason = f"{package} is not installed: uv run --extra track"
    return pytest.mark.skipif(find_spec(package) is None, reason=reason)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def make(tracker: str) -> Path:
        path = tmp_path / "tracked.yaml"
        path.write_text(f"{SCENARIO}trackers: [{tracker}]\n", encoding="utf-8")
        return path

    return make


@pytest.fixture
def alone(tmp_path: Path, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Tracked:
    """Run a scenario with a tracker in a process of its own; give its run folder."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))

    def run(tracker: str) -> Path:
        out, left = tmp_path / "run", tmp_path / "connected"
        command = [sys.executable, "-W", "ignore", "-c", ALONE, str(write(tracker)), str(out), str(left)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        assert ran.returncode == 0, ran.stderr
        # Nothing but the result on stdout, and nobody called elsewhere.
        assert ran.stdout == f"{out / 'report.html'}\n"
        assert not left.exists(), left.read_text()
        return out

    return run


def accuracies(folder: Path) -> list[float]:
    return [json.loads(line)["accuracy"] for line in (folder / "rounds.jsonl").read_text().splitlines()]


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


# Fails before round 3, the first time that it comes there: round 2, of which no checkpoint is, is trained again.
FAILING = """
from dataclasses import dataclass
from pathlib import Path
from priprune_plugins import hookimpl

@dataclass(frozen=True, eq=False)
class Failing:
    @hookimpl
    def on_round_start(self, server):
        failed = Path(__file__).with_name("failed")
        if server.round_idx == 3 and not failed.exists():
            failed.touch()
            raise RuntimeError("the disk was full")
"""


@needs("tensorboard")
def test_tensorboard_has_every_round_once_also_where_a_run_was_resumed(
    write: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "tracked_failing", raising=False)
    (tmp_path / "tracked_failing.py").write_text(FAILING, encoding="utf-8")
    changes = ["rounds=4", "checkpoint.every=2", "pruner={name: 'tracked_failing:Failing'}"]
    scenario = read_scenario(write("{name: tensorboard}"), changes)
    out = tmp_path / "run"
    with pytest.raises(PluginError, match="the disk was full"):
        run_scenario(scenario, out)
    assert [step for step, _ in scalars(out / "tensorboard", "accuracy")] == [0, 1, 2]
    run_scenario(scenario, out, resume=True)
    want = [(number, pytest.approx(value)) for number, value in enumerate(accuracies(out))]
    assert len(want) == 4 and scalars(out / "tensorboard", "accuracy") == want
    assert len(scalars(out / "tensorboard", "layer_density/net.fc1.weight")) == 4
    bare = run_scenario(read_scenario(write(""), changes), tmp_path / "bare")
    assert (out / "rounds.jsonl").read_bytes() == (bare / "rounds.jsonl").read_bytes()


@needs("wandb")
@pytest.mark.slow
def test_wandb_writes_into_the_run_folder_and_calls_nobody(alone: Tracked) -> None:
    out = alone("{name: wandb, project: pruned}")
    (run,) = out.glob("wandb/offline-run-*/*.wandb")
    content = run.read_bytes()
    assert b"accuracy" in content and b"clients_per_round" in content
    assert content.count(b"layer_density/net.fc1.weight") >= 3


@needs("trackio")
@pytest.mark.slow
def test_trackio_keeps_every_round_on_this_machine(alone: Tracked, tmp_path: Path) -> None:
    out = alone("{name: wandb, backend: trackio, project: pruned}")
    with sqlite3.connect(tmp_path / "trackio/pruned.db") as database:
        kept = [json.loads(line) for (line,) in database.execute("select metrics from metrics order by step")]
    assert [line["accuracy"] for line in kept if "accuracy" in line] == accuracies(out)


def test_a_package_that_is_absent_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("priprune_plugins.trackers.wandb.find_spec", lambda name: None)
    monkeypatch.setattr("priprune_plugins.trackers.tensorboard.find_spec", lambda name: None)
    with pytest.raises(ScenarioError, match=r"needs trackio, which is not installed: .*uv run --extra track"):
        Wandb(backend="trackio")
    with pytest.raises(ScenarioError, match=r"needs TensorBoard, which is not installed: .*uv run --extra track"):
        TensorBoard()


def test_trackio_goes_nowhere_online() -> None:
    with pytest.raises(ScenarioError, match="trackio stays on this machine; remove mode"):
        Wandb(backend="trackio", mode="online")
