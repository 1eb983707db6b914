"""Plugins that set the server's weights, refused where these stand for several models."""

from priprune_plugins.errors import ScenarioError
from priprune_plugins.plugins import PluginHost
from priprune_plugins.simulation.algorithm import Algorithm


def check_settable(host: PluginHost, algorithm: Algorithm) -> None:
    """Refuse plugins that declare by ``sets_weights`` that they set more in ``server.weights`` than zeros.

    One that does so without a word is refused when it does.

    Args:
        host: The plugins.
        algorithm: The FedLab algorithm.

    Raises:
        ScenarioError: One does, and the algorithm has several models.
    """
    if not algorithm.several_models:
        return
    name = type(algorithm).__name__.lower()
    for entry in host.registered:
        if getattr(entry.plugin, "sets_weights", False):
            raise ScenarioError(
                f"{entry} cannot be combined with algorithm {name}: it sets server.weights, which stand for several "
                "models that it would make the same; let it set nothing but masks and zeros (magnitude: rewind: false, "
                "prunefl: initial: magnitude)"
            )
