"""A served run leaves the files of a standalone run, byte for byte."""

from pathlib import Path

import pytest

AUDITED = (
    "rounds=3",
    "pruner={name: magnitude, rate: 0.3}",
    "defenses=[{name: priprune, mode: adaptive, theta: 1.3}]",
    "attacks=[{name: sgi, iterations: 2, starts: [uniform], tv: [0.0001]}]",
    "audit={batch_size: 1, victims: 2, rounds: [1], earlier: 1, spacing: 1}",
)
CAPTURED = (
    "attacks=[{name: gi, iterations: 2, starts: [uniform]}]",
    "algorithm={name: scaffold, clients_per_round: 4, batch_size: 5, lr: 0.1, local_steps: 2}",
    "defenses=[{name: largest, rate: 0.2}]",
    "capture={rounds: [1, 3], clients: 2}",
)
SET_UP = (
    "pruner={name: snip, rate: 0.3, source: clients}",
    "defenses=[{name: random_withhold, rate: 0.1}]",
    "algorithm={name: ifca, clusters: 3, clients_per_round: 4, batch_size: 5, lr: 0.1}",
)
CHOSEN = ("pruner={name: prunefl, rate: 0.3}", "algorithm.epochs=1", "evaluation.clients=3")
SUMMED = ("defenses=[{name: secagg}]", "algorithm={name: fednova, clients_per_round: 4, batch_size: 5, local_steps: 1}")
# Times stand in these.
TIMED = {"timing.jsonl", "summary.json", "report.html", "checkpoint.json", "sha256", "environment.json"}


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in TIMED]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    "overrides",
    [AUDITED, CAPTURED, SET_UP, CHOSEN, SUMMED],
    ids=["audited", "captured", "set-up", "chosen", "summed"],
)
def test_a_served_run_leaves_the_bytes_of_a_standalone_run(commands, overrides) -> None:
    alone = contents(commands.run("alone", *overrides))
    server, where = commands.serve("served", *overrides)
    joined = [commands.join(where, *overrides) for _ in range(2)]
    assert [command.code() for command in (server, *joined)] == [0, 0, 0], [c.said for c in (server, *joined)]
    served = contents(commands.folder / "served")
    assert served.keys() == alone.keys()
    assert [name for name in served if served[name] != alone[name] and "state" not in name] == []
