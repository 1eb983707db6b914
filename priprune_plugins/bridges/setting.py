"""What clients and server must agree on: plugins, public facts, seed, initial weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from priprune_plugins.bridges.leak_captures import LeakCaptures
from priprune_plugins.bridges.state_dicts import StateDict, copied_state, flat_of
from priprune_plugins.errors import ScenarioError
from priprune_plugins.facts import Facts
from priprune_plugins.generators import Key, generator
from priprune_plugins.messages import Run
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.run.assemble import registered, relabelled
from priprune_plugins.scenario.selection import Selection

_KINDS = {"pruner": "pruners", "defenses": "defenses", "attacks": "attacks", "trackers": "trackers"}


@dataclass(frozen=True, eq=False)
class Setting:
    """Made once in each process, from the same arguments; see :func:`make_setting`.

    Args:
        host: All plugins.
        facts: Public facts.
        seed: Every random stream is derived from it, by the same keys as in ``priprune run``.
        state: The model's initial entries.
        run: What plugins know of the run.
        captures: Which uploads are kept for attacks; None = none.
    """

    host: PluginHost
    facts: Facts
    seed: int
    state: StateDict
    run: Run
    captures: LeakCaptures | None = None

    @property
    def initial(self) -> Tensor:
        """``[D]`` the weights before round 0."""
        return flat_of(self.state, self.facts.layout)

    def stream(self, plugin: object, *key: Key) -> torch.Generator:
        """Return a fresh CPU generator of a plugin's own for what ``key`` names."""
        return generator(self.seed, *key, self.host.key(plugin))

    def setup_clients(self) -> list[Sequence[int] | None]:
        """Return which clients each plugin wants in a setup round: ids, or None for a sampled round."""
        wishes = [getattr(plugin, "setup_clients", None) for plugin in self.host.implementing("on_setup_round")]
        return [wish for wish in wishes if wish != ()]

    def refuse_setup(self, framework: str) -> None:
        """Refuse plugins that need a setup round, where a framework has none.

        Raises:
            ScenarioError: One does.
        """
        if not self.setup_clients():
            return
        names = [entry.name for entry in self.host.registered if entry.plugin in self._with_setup()]
        raise ScenarioError(
            f"{names[0]} needs a setup round before round 0, which {framework} has not: let it start at the server "
            "(prunefl: initial: magnitude; snip, grasp: source: public), or use FedML's simulator or priprune run"
        )

    def _with_setup(self) -> list[object]:
        plugins = self.host.implementing("on_setup_round")
        return [plugin for plugin in plugins if getattr(plugin, "setup_clients", None) != ()]


def make_setting(
    model: nn.Module,
    facts: Facts,
    plugins: Mapping[str, Any],
    folder: Path | str,
    seed: int = 0,
    captures: LeakCaptures | None = None,
) -> Setting:
    """Return the setting of a federation that another framework runs.

    Args:
        model: The initialised model; every process must start from the same weights.
        facts: Public facts; ``layout`` is that of ``model``.
        plugins: As in a scenario: ``{"pruner": {"name": "magnitude", "rate": 0.3}, "defenses": [...], "attacks":
            [...]}``; attacks are needed here only where they watch the server.
        folder: Where captures and trackers' files go.
        seed: Every random stream is derived from it.
        captures: Which uploads are kept for attacks.

    Raises:
        ScenarioError: A plugin or option is wrong, or cannot work outside FedLab's pipeline; or the model has frozen or
            tied parameters.
    """
    state = copied_state(model)
    host = PluginHost(chosen(plugins))
    if host.implements("sum_uploads"):
        raise ScenarioError("secagg forms groups in FedLab's pipeline only; use the framework's own secure aggregation")
    Path(folder).mkdir(parents=True, exist_ok=True)
    run = Run(Path(folder), dict(plugins), facts)
    host.on_run_start(run)
    return Setting(host, facts, seed, state, run, captures)


def chosen(plugins: Mapping[str, Any]) -> list[Registered]:
    """Return the plugins that a mapping selects as a scenario does, in hook order.

    Raises:
        ScenarioError: An unknown key, plugin or option.
    """
    unknown = set(plugins) - set(_KINDS)
    if unknown:
        raise ScenarioError(f"plugins: unknown key {min(unknown)!r}; allowed: {', '.join(_KINDS)}")
    selections = [one for key in _KINDS for one in _selections(key, plugins.get(key))]
    return relabelled([registered(selection) for selection in selections])


def _selections(key: str, given: Any) -> list[Selection]:
    if key == "pruner":
        return [] if given is None else [_selection(key, given, "pruner")]
    return [_selection(key, one, f"{key}[{index}]") for index, one in enumerate(given or ())]


def _selection(key: str, given: Any, path: str) -> Selection:
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise ScenarioError(f"{path} must be a mapping with a name, got {given!r}; for instance {{name: magnitude}}")
    options = {name: value for name, value in given.items() if name != "name"}
    return Selection(_KINDS[key], given["name"], options, path)
