"""A run of two rounds without attacks, whose probes are captured at both."""

from pathlib import Path

import pytest

from priprune_plugins.run import run_scenario
from priprune_plugins.scenario import read_scenario

SCENARIO = """
name: bounded
seed: 3
device: cpu
rounds: 2
data: {name: digits, size: 14, clients: 12, partition: iid}
model: {name: small14}
algorithm: {name: fedavg, clients_per_round: 2, batch_size: 10, lr: 0.1}
pruner: {name: random, rate: 0.3}
defenses: [{name: largest, rate: 0.1}]
audit: {batch_size: 4, victims: 2, rounds: [0, 1]}
"""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; tests that write into it copy it first."""
    folder = tmp_path_factory.mktemp("bounds")
    path = folder / "scenario.yaml"
    path.write_text(SCENARIO)
    return run_scenario(read_scenario(path, []), folder / "run")
