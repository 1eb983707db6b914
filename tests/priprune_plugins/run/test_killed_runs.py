"""A run that is killed with SIGKILL anywhere and resumed leaves the bytes of one that never was."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("killed_runs.py")
SCENARIO = """\
rounds: 6
seed: 3
data: {name: digits, size: 14, train: 240, test: 60, clients: 6, partition: iid, validation: 0.2}
model: {name: small14}
attacks: [{name: gi, iterations: 2, starts: [uniform], tv: [0.0001]}]
audit: {batch_size: 1, victims: 1, rounds: [1, 3]}
evaluation: {every: 3, clients: 2}
checkpoint: {every: 1}
states: {max_gib: 0.001}
"""
METHODS = """\
algorithm: {name: scaffold, clients_per_round: 3, batch_size: 10}
pruner: {name: random, rate: 0.3}
defenses: [{name: priprune}]
"""
MORE_METHODS = {
    "scaffold": METHODS,
    "fednova": """\
algorithm: {name: fednova, clients_per_round: 3, epochs: 1, batch_size: 10}
pruner: {name: prunefl, every: 2, initial_passes: 2}
defenses: [{name: largest, rate: 0.2, keep_local: true}]
""",
    "fedprox": """\
algorithm: {name: fedprox, clients_per_round: 3, local_steps: 2, batch_size: 10}
pruner: {name: feddst, every: 2}
defenses: [{name: mix, keep_local: true}]
""",
    "powerofchoice": """\
algorithm: {name: powerofchoice, clients_per_round: 3, batch_size: 10}
pruner: {name: lotteryfl, accuracy: 0.1}
""",
}


def killed(folder: Path, methods: str, kills: int, seed: int) -> dict[str, Any]:
    path = folder / "tiny.yaml"
    path.write_text(SCENARIO + methods, encoding="utf-8")
    program = [sys.executable, str(PROGRAM), str(path), str(folder), str(kills), str(seed)]
    ran = subprocess.run(program, env=os.environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    report: dict[str, Any] = json.loads(ran.stdout)
    return report


@pytest.mark.end_to_end
def test_a_run_killed_at_20_points_leaves_the_bytes_of_an_uninterrupted_one(tmp_path: Path) -> None:
    report = killed(tmp_path, METHODS, kills=20, seed=1)
    assert report["wrong"] == {}
    assert sum(report["kills"].values()) == 20
    assert report["kills"]["writing a checkpoint"] > 0
    assert report["kills"]["between checkpoints"] > 0
    assert report["kills"]["after the training"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", sorted(MORE_METHODS))
def test_200_kills_of_every_kind_of_state_lose_nothing(name: str, tmp_path: Path) -> None:
    report = killed(tmp_path, MORE_METHODS[name], kills=50, seed=2)
    assert report["wrong"] == {}
    assert sum(report["kills"].values()) == 50
