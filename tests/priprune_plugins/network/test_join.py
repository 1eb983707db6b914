"""Whom ``priprune join`` warns that nothing is kept."""

from pathlib import Path

import pytest

from priprune_plugins.network.join import may_remember
from priprune_plugins.run.assemble import make_plugins
from priprune_plugins.scenario import read_scenario

SCENARIO = "rounds: 1\ndata: {name: digits}\nmodel: {name: mlp}\nalgorithm: {name: fedavg}\n"


@pytest.mark.parametrize(
    ("chosen", "warned"),
    [
        ("pruner={name: magnitude}", False),
        ("attacks=[{name: gi}]", False),
        ("pruner={name: prunefl}", True),
        ("defenses=[{name: priprune}]", True),
        ("algorithm.name=scaffold", True),
    ],
)
def test_clients_that_may_remember_something_are_told_apart(chosen: str, warned: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(SCENARIO)
    assert may_remember(make_plugins(read_scenario(path, [chosen]))) == warned
