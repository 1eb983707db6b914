"""A plugin's options: from a selection to an instance, and back to YAML with every default written out."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints

from pydantic_core import to_jsonable_python

from priprune_plugins.catalogue import KINDS
from priprune_plugins.errors import PluginError, PriPruneError, ScenarioError
from priprune_plugins.scenario.sections_reader import HOST_KEYS
from priprune_plugins.scenario.selection import Selection
from priprune_plugins.scenario.values import typed
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.wording import unknown_key

_TAKEN = {"datasets": HOST_KEYS["data"], "models": HOST_KEYS["model"], "algorithms": HOST_KEYS["algorithm"]}


def option_fields(cls: type) -> dict[str, Field[Any]]:
    """Return a plugin's options by name: the fields that its constructor takes."""
    return {field.name: field for field in fields(cls) if field.init}


def build_plugin(selection: Selection, cls: type) -> Any:
    """Make a plugin with its options.

    Raises:
        ScenarioError: An option is unknown, missing or wrong, or the plugin itself refuses it.
        PluginError: The class is no dataclass, or declares what no scenario can give.
    """
    hints = checked_hints(selection, cls)
    label = f"{KINDS[selection.kind]} {selection.name}"
    for key in selection.options:
        if key not in hints:
            raise ScenarioError(unknown_key(selection.at(key), label, key, list(hints)))
    for name, field in option_fields(cls).items():
        if name not in selection.options and field.default is MISSING and field.default_factory is MISSING:
            raise ScenarioError(f"{selection.at()}.{name} is missing; {label} needs it")
    values = {key: typed(hints[key], value, selection.at(key)) for key, value in selection.options.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise ScenarioError(f"{selection.at()}: {error}") from error
    except PriPruneError as error:
        place = selection.places.get(selection.path)
        raise type(error)(f"{place}: {error}" if place else str(error)) from error


def checked_hints(selection: Selection, cls: type) -> dict[str, Any]:
    """Return the annotated type of each option.

    Raises:
        PluginError: The class is no dataclass, an annotation means nothing, or an option has the name of a host key.
    """
    label = f"{KINDS[selection.kind]} {selection.name}"
    if not is_dataclass(cls):
        raise PluginError(f"{label}: {cls.__name__} must be a dataclass: write @dataclass(frozen=True, eq=False)")
    try:
        hints = get_type_hints(cls, include_extras=True)
    except (NameError, TypeError) as error:
        raise PluginError(f"{label}: an annotation of {cls.__name__} cannot be read: {error}") from error
    names = option_fields(cls)
    taken = sorted({"name", *_TAKEN.get(selection.kind, ())} & names.keys())
    if taken:
        raise PluginError(f"{label}: its option {taken[0]!r} is a key of the scenario itself: rename it")
    return {name: hints[name] for name in names}


def resolved(scenario: Scenario, plugins: Sequence[object]) -> dict[str, Any]:
    """Return the scenario as plain YAML values, every default written out.

    Args:
        scenario: The scenario.
        plugins: The instances of ``scenario.selections()``, in that order.

    Returns:
        A mapping that, written as YAML and read again, gives the same scenario.
    """
    chosen = zip(scenario.selections(), plugins, strict=True)
    blocks = {selection.path: {"name": selection.name, **_options(plugin)} for selection, plugin in chosen}
    document = {
        "name": scenario.name,
        "seed": scenario.seed,
        "device": scenario.device,
        "rounds": scenario.rounds,
        "data": blocks["data"] | _plain(scenario.data),
        "model": blocks["model"] | _plain(scenario.model),
        "algorithm": blocks["algorithm"] | _plain(scenario.algorithm),
        "aggregation": _plain(scenario.aggregation),
        "pruner": None if scenario.pruner is None else blocks["pruner"],
        **{kind: [blocks[s.path] for s in getattr(scenario, kind)] for kind in ("defenses", "attacks", "trackers")},
        "simulation": _plain(scenario.simulation),
        "evaluation": _plain(scenario.evaluation),
        "capture": _plain(scenario.capture),
        "audit": None if scenario.audit is None else _plain(scenario.audit),
        "privacy": _plain(scenario.privacy),
        "checkpoint": _plain(scenario.checkpoint),
        "states": _plain(scenario.states),
    }
    document |= {} if scenario.network is None else {"network": _plain(scenario.network)}
    return document | ({"modules": list(scenario.modules)} if scenario.modules else {})


def _options(plugin: object) -> dict[str, Any]:
    return {name: _plain(getattr(plugin, name)) for name in option_fields(type(plugin))}


def _plain(value: Any) -> Any:
    plain = to_jsonable_python(value)
    return dict(plain) if isinstance(plain, Mapping) else plain
