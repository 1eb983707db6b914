"""Clients that a scenario asks for, against those that there are."""

from collections.abc import Sequence

from priprune_plugins.errors import ScenarioError
from priprune_plugins.plugins import PluginHost
from priprune_plugins.scenario.whole import Scenario


def check_client_ids(scenario: Scenario, host: PluginHost, num_clients: int) -> None:
    """Refuse victims, and clients of the setup round, that there are not.

    Raises:
        ScenarioError: Somebody asks for more clients than there are.
    """
    if scenario.audit is not None and scenario.audit.victims > num_clients:
        raise ScenarioError(
            f"audit.victims must be at most the number of clients ({num_clients}), got {scenario.audit.victims}; lower "
            "it, or raise data.clients"
        )
    for plugin in host.implementing("on_setup_round"):
        asked: Sequence[int] = getattr(plugin, "setup_clients", None) or ()
        absent = [client_id for client_id in asked if client_id >= num_clients]
        if absent:
            label = next(str(entry) for entry in host.registered if entry.plugin is plugin)
            raise ScenarioError(
                f"{label}: its client of the setup round must be below the number of clients ({num_clients}), which "
                f"count from 0, got {absent[0]}; lower it, or raise data.clients"
            )
