"""What cannot work together in a scenario, as far as that is known without its data."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from priprune_plugins.catalogue import KINDS
from priprune_plugins.errors import PluginError, PriPruneError, ScenarioError
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import Plugins, absent_policy, local_steps
from priprune_plugins.run.client_ids import check_client_ids
from priprune_plugins.scenario.options import resolved
from priprune_plugins.scenario.selection import Selection
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.simulation.cohort_choice import check_together
from priprune_plugins.simulation.settable import check_settable
from priprune_plugins.simulation.summable import check_summable
from priprune_plugins.wording import cause


def check_combinations(scenario: Scenario, plugins: Plugins, host: PluginHost) -> None:
    """Refuse plugins and options that cannot work together; a run begins with it, and ``priprune check`` ends with it.

    A plugin of any kind may have a method ``check_scenario(scenario)`` that raises a ScenarioError; it is given the
    resolved scenario, as ``on_run_start`` finds it in ``run.scenario``.

    Args:
        scenario: The scenario.
        plugins: Its plugins.
        host: Those that have hooks.

    Raises:
        ScenarioError: The first combination that cannot work.
        PluginError: A plugin's own check failed.
    """
    with _placed(scenario.federation):
        _check_algorithm(scenario, plugins, host)
    if scenario.data.clients is not None:
        check_client_ids(scenario, host, scenario.data.clients)
    if scenario.audit is not None and scenario.audit.victims < 2 and host.implements("sum_uploads"):
        raise ScenarioError(
            f"audit.victims must be at least 2 where the server sees sums only, got {scenario.audit.victims}; give as "
            "many as a group has"
        )
    document = resolved(scenario, plugins.instances())
    for selection, plugin in zip(scenario.selections(), plugins.instances(), strict=True):
        with _placed(selection):
            _check_by_plugin(f"{KINDS[selection.kind]} {selection.name}", plugin, document)


@contextmanager
def _placed(selection: Selection) -> Iterator[None]:
    """Let a refusal begin with the line where a plugin is chosen."""
    place = selection.places.get(selection.path)
    try:
        yield
    except ScenarioError as error:
        if place is None or str(error).startswith(place):
            raise
        raise ScenarioError(f"{place}: {error}") from error


def _check_algorithm(scenario: Scenario, plugins: Plugins, host: PluginHost) -> None:
    section, algorithm = scenario.algorithm, plugins.algorithm
    if scenario.data.clients is not None:
        algorithm.check_clients(scenario.data.clients, section.clients_per_round)
    if scenario.simulation.cohort is True:
        check_together(algorithm, scenario.federation.name)
    check_settable(host, algorithm)
    policy, weighting = absent_policy(scenario, plugins), scenario.aggregation.weighting
    check_summable(host, algorithm, section.clients_per_round, local_steps(scenario), policy, weighting)


def _check_by_plugin(label: str, plugin: object, document: Mapping[str, Any]) -> None:
    check: Callable[[Mapping[str, Any]], None] | None = getattr(plugin, "check_scenario", None)
    if check is None:
        return
    try:
        check(document)
    except PriPruneError:
        raise
    except Exception as error:
        raise PluginError(f"{label} failed in check_scenario: {cause(error)}") from error
