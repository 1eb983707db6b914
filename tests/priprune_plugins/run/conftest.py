"""A scenario small enough to run in seconds: digits at 14x14, two rounds, two attacks of a few iterations."""

from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.run import Watcher, run_scenario
from priprune_plugins.scenario import read_scenario

TINY = """
name: tiny
seed: 3
device: cpu
rounds: 2
data: {name: digits, size: 14, clients: 12, partition: iid}
model: {name: small14}
algorithm: {name: fedavg, clients_per_round: 4, batch_size: 10, lr: 0.1}
pruner: {name: random, rate: 0.3}
defenses: [{name: largest, rate: 0.1}]
attacks:
  - {name: sgi, iterations: 4, starts: [uniform], tv: [0.0001]}
  - {name: gi, iterations: 4, starts: [uniform], tv: [0.0001]}
audit: {batch_size: 1, victims: 2, rounds: [1]}
"""
Runner = Callable[..., Path]


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def run(scenario_file: Path, tmp_path: Path) -> Runner:
    """Run the tiny scenario with overrides, in a folder of its own or where it was before; return the folder."""

    def start(out: str, *overrides: str, watcher: Watcher | None = None, resume: bool = False) -> Path:
        return run_scenario(read_scenario(scenario_file, overrides), tmp_path / out, watcher, resume=resume)

    return start
