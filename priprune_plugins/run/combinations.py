"""What cannot work together in a scenario, as far as that is known without its data."""

from collections.abc import Callable, Mapping
from typing import Any

from priprune_plugins.errors import ScenarioError
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import Plugins, absent_policy, local_steps
from priprune_plugins.scenario.options import resolved
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.simulation.cohort_choice import check_together
from priprune_plugins.simulation.settable import check_settable
from priprune_plugins.simulation.summable import check_summable


def check_combinations(scenario: Scenario, plugins: Plugins, host: PluginHost) -> None:
    """Refuse plugins and options that cannot work together; a run begins with it, and ``priprune check`` ends with it.

    A plugin may have a method ``check_scenario(scenario)`` that raises a ScenarioError; it is given the resolved
    scenario, as ``on_run_start`` finds it in ``run.scenario``.

    Args:
        scenario: The scenario.
        plugins: Its plugins.
        host: Those that have hooks.

    Raises:
        ScenarioError: The first combination that cannot work.
    """
    section, algorithm = scenario.algorithm, plugins.algorithm
    if scenario.data.clients is not None:
        algorithm.check_clients(scenario.data.clients, section.clients_per_round)
    if scenario.simulation.cohort is True:
        check_together(algorithm, scenario.federation.name)
    check_settable(host, algorithm)
    policy, weighting = absent_policy(scenario, plugins), scenario.aggregation.weighting
    check_summable(host, algorithm, section.clients_per_round, local_steps(scenario), policy, weighting)
    if scenario.audit is not None and scenario.audit.victims < 2 and host.implements("sum_uploads"):
        raise ScenarioError(
            f"audit.victims must be at least 2 where the server sees sums only, got {scenario.audit.victims}; give as "
            "many as a group has"
        )
    _check_by_plugins(resolved(scenario, plugins.instances()), host)


def _check_by_plugins(document: Mapping[str, Any], host: PluginHost) -> None:
    for entry in host.registered:
        check: Callable[[Mapping[str, Any]], None] | None = getattr(entry.plugin, "check_scenario", None)
        if check is not None:
            check(document)
