"""Clients that there are not, where only the data say how many there are."""

from pathlib import Path

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import make_plugins
from priprune_plugins.run.client_ids import check_client_ids
from priprune_plugins.scenario import read_scenario


@pytest.mark.parametrize(
    ("override", "num_clients", "reason"),
    [
        ("audit.victims=3", 2, r"audit\.victims must be at most the number of clients \(2\), got 3"),
        (
            "pruner={name: snip, source: client, client_id: 5}",
            5,
            r"pruner snip: its client .* \(5\), .*, got 5; lower it",
        ),
        ("pruner={name: prunefl, client_id: 5}", 5, r"pruner prunefl: its client of the setup round must be below"),
    ],
)
def test_who_does_not_exist_is_asked_for_nothing(
    override: str, num_clients: int, reason: str, scenario_file: Path
) -> None:
    scenario = read_scenario(scenario_file, [override])
    host = PluginHost(make_plugins(scenario).hooked)
    check_client_ids(scenario, host, num_clients + 1)
    with pytest.raises(ScenarioError, match=reason):
        check_client_ids(scenario, host, num_clients)
