"""What cannot work where the server sees sums only, refused before the first round."""

from typing import Any

from priprune_plugins.errors import ScenarioError
from priprune_plugins.plugins import PluginHost
from priprune_plugins.simulation.aggregation import Absent
from priprune_plugins.simulation.algorithm import Algorithm


def check_summable(
    host: PluginHost, algorithm: Algorithm, clients_per_round: int, steps: int | None, absent: Absent, weighting: str
) -> None:
    """Check that everything works on sums, where a plugin implements ``sum_uploads``.

    Args:
        host: The plugins.
        algorithm: The FedLab algorithm.
        clients_per_round: Clients sampled a round.
        steps: Local steps, or None for whole passes.
        absent: Policy for coordinates that were not sent.
        weighting: Weight of a client in the mean.

    Raises:
        ScenarioError: Something needs single uploads.
    """
    summing = [entry for entry in host.registered if entry.plugin in host.implementing("sum_uploads")]
    if not summing:
        return
    who = str(summing[0])
    defenses = [entry for entry in host.registered if entry.kind == "defenses"]
    if len(summing) > 1:
        raise ScenarioError(f"defenses must sum the uploads once at most, got {who} and {summing[1]}; leave one out")
    if defenses[-1].plugin is not summing[0].plugin:
        raise ScenarioError(f"defenses must end with {who}, got {defenses[-1]} behind it; move {who} to the end")
    if absent != "previous":
        raise ScenarioError(
            f"aggregation.absent must be previous with {who}, got {absent} (given, or the pruner's own): a sum does "
            "not tell who sent a coordinate; set aggregation.absent: previous"
        )
    reason = algorithm.needs_single_uploads(steps, weighting)
    if reason is not None:
        raise ScenarioError(f"algorithm cannot be combined with {who}: {reason}")
    if clients_per_round < 2:
        raise ScenarioError(
            f"algorithm.clients_per_round must be at least 2 with {who}, got {clients_per_round}: a sum over one hides "
            "nothing; raise it"
        )
    _check_setup(host, who)


def _check_setup(host: PluginHost, who: str) -> None:
    for plugin in host.implementing("on_setup_round"):
        clients: Any = getattr(plugin, "setup_clients", None)
        if clients is not None and clients != ():
            entry = next(entry for entry in host.registered if entry.plugin is plugin)
            raise ScenarioError(
                f"{entry} cannot choose the clients of the setup round, {list(clients)}, with {who}: their uploads "
                "would be seen one by one; let it take public data, all clients or magnitude there"
            )
