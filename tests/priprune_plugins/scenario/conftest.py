"""A small right scenario, and files beside it."""

from collections.abc import Callable
from pathlib import Path

import pytest

RIGHT = """\
name: small
seed: 3
rounds: 5
data: {name: digits, clients: 20, size: 14}
model: {name: mini, init: he}
algorithm:
  name: fedavg
  clients_per_round: 4
  lr: 1e-1
pruner:
  name: random
  rate: 0.3
attacks: [{name: gi, iterations: 7}]
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file beside the scenario, by default the right scenario itself."""

    def written(text: str | bytes = RIGHT, name: str = "a.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


@pytest.fixture
def right() -> str:
    return RIGHT
