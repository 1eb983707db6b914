"""What a user sees who presses Ctrl-C, or whose machine is taken away."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCENARIO = """\
rounds: 2
data: {name: digits, size: 14, train: 120, test: 40, clients: 6, partition: iid}
model: {name: mlp, hidden: [16]}
algorithm: {name: fedavg, clients_per_round: 2, batch_size: 5}
attacks: [{name: gi, iterations: 1000000}]
audit: {batch_size: 1, victims: 1, rounds: [1]}
"""


@pytest.mark.end_to_end
def test_an_attack_that_would_last_for_hours_ends_in_ten_seconds_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SCENARIO, encoding="utf-8")
    program = [sys.executable, "-m", "priprune_plugins.cli", "run", "a.yaml", "--out", "run", "--quiet"]
    process = subprocess.Popen(program, cwd=tmp_path, env=os.environ, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while not (tmp_path / "run" / "checkpoint" / "trained").is_dir() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    time.sleep(1)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - asked < 10
    assert process.returncode == 128 + signal.SIGTERM
    expected = (
        "priprune: interrupted: the training is done; to go on: priprune run run/scenario.yaml --out run --resume"
    )
    assert errors.splitlines()[-1] == expected
