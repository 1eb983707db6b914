"""A run of any length takes the memory and the time a round of a short one."""

import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.run import Watcher, run_scenario
from priprune_plugins.scenario import read_scenario

ROUNDS = 10_000
SCENARIO = f"""\
rounds: {ROUNDS}
data: {{name: digits, size: 14, train: 120, test: 20, clients: 6, partition: iid}}
model: {{name: mlp, hidden: [8]}}
algorithm: {{name: scaffold, clients_per_round: 2, batch_size: 5, lr: 0.01}}
pruner: {{name: magnitude, rate: 0.3}}
defenses: [{{name: priprune}}]
evaluation: {{every: 500, clients: 2}}
checkpoint: {{every: 250}}
"""


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class Meter(Watcher):
    """Reads memory and CPU seconds every 500 rounds."""

    def __init__(self) -> None:
        self.resident: list[int] = []
        self.seconds: list[float] = []

    def round_done(self, record: Mapping[str, Any]) -> None:
        if record["round"] % 500 == 499:
            self.resident.append(resident_bytes())
            self.seconds.append(time.process_time())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads its memory from /proc, which Linux has")
def test_ten_thousand_rounds_take_no_more_memory_and_no_longer_each(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text(SCENARIO, encoding="utf-8")
    meter = Meter()
    run_scenario(read_scenario(tmp_path / "long.yaml"), tmp_path / "run", meter)
    spent = [after - before for before, after in zip(meter.seconds, meter.seconds[1:], strict=False)]
    early, late = sorted(spent[:6])[3], sorted(spent[-6:])[3]
    assert len(meter.resident) == 20
    assert meter.resident[-1] < 1.05 * meter.resident[1]
    assert late < 1.15 * early, (early, late)
    assert (tmp_path / "run" / "rounds.jsonl").read_text().count("\n") == ROUNDS
