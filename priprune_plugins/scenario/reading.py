"""From a YAML file to a :class:`Scenario`, without importing a plugin or torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from priprune_plugins.catalogue import check_name, is_reference
from priprune_plugins.errors import ScenarioError
from priprune_plugins.options import Count, Index
from priprune_plugins.scenario.includes import read_with_includes
from priprune_plugins.scenario.nodes import Node
from priprune_plugins.scenario.overrides import overridden
from priprune_plugins.scenario.rules import check_rules
from priprune_plugins.scenario.sections import (
    AggregationSection,
    AlgorithmSection,
    AuditSection,
    CaptureSection,
    CheckpointSection,
    EvaluationSection,
    NetworkSection,
    PrivacySection,
    SimulationSection,
    StatesSection,
)
from priprune_plugins.scenario.sections_reader import HOST_KEYS, entries, mixed, section, selection, selections
from priprune_plugins.scenario.values import typed
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.wording import unknown_key

REQUIRED = ("data", "model", "algorithm", "rounds")
SCALARS: Mapping[str, Any] = {"name": str, "seed": Index, "device": str, "rounds": Count}
SECTIONS: Mapping[str, type] = {
    "aggregation": AggregationSection,
    "simulation": SimulationSection,
    "evaluation": EvaluationSection,
    "capture": CaptureSection,
    "privacy": PrivacySection,
    "checkpoint": CheckpointSection,
    "states": StatesSection,
}
LISTS = ("defenses", "attacks", "trackers")
KEYS = (*SCALARS, *REQUIRED[:3], *SECTIONS, *LISTS, "pruner", "audit", "network", "modules")


def read_scenario(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """Return the scenario of a YAML file, its keys, names and host values checked; plugins' options are not.

    Args:
        path: The file.
        overrides: ``--set`` arguments, ``path=value`` each.

    Raises:
        ScenarioError: One line, ``file:line: path`` first.
    """
    node, files = read_with_includes(path, HOST_KEYS)
    return scenario_of(overridden(node, overrides), path, files)


def scenario_of(node: Node, path: Path, files: Sequence[Path]) -> Scenario:
    """Return the scenario of a mapping, as :func:`read_scenario` does of a file.

    Args:
        node: The mapping, its includes merged.
        path: The file that it stands in; paths in it start at that file's folder.
        files: All files that it was read from.

    Raises:
        ScenarioError: One line, ``file:line: path`` first.
    """
    found = entries(node, "scenario")
    _check_keys(found, node.place)
    modules = _modules(found.get("modules"), path)
    # Seen from a file's own folder, an included file's plugins may lie beside it.
    folders = (*dict.fromkeys(file.parent.absolute() for file in files), *modules)
    scenario = _scenario(path, found, folders)
    check_rules(scenario, dict(node.places("")))
    for chosen in scenario.selections():
        check_name(chosen)
    scenario = replace(scenario, algorithm=_with_steps(scenario.algorithm))
    outside = any(is_reference(chosen.name) for chosen in scenario.selections())
    return replace(scenario, modules=tuple(str(folder) for folder in folders) if outside else ())


def _check_keys(found: Mapping[str, Node], place: str) -> None:
    for key, node in found.items():
        if key in ("base", "grid"):
            raise ScenarioError(f"{node.place}: {key} is a sweep's key, this is no scenario: give it to priprune sweep")
        if key not in KEYS:
            raise ScenarioError(unknown_key(f"{node.place}: {key[:60]}", "a scenario", key, [*KEYS, "include"]))
    for key in REQUIRED:
        if key not in found or found[key].value is None:
            raise ScenarioError(f"{place}: {key} is missing; a scenario needs {', '.join(REQUIRED)}")


def _modules(node: Node | None, path: Path) -> tuple[Path, ...]:
    if node is None or node.value is None:
        return ()
    folders = typed(tuple[str, ...], node.plain(), f"{node.place}: modules")
    return tuple((path.parent / folder).absolute() for folder in folders)


def _scenario(path: Path, found: Mapping[str, Node], folders: tuple[Path, ...]) -> Scenario:
    data, dataset = mixed("data", found["data"], folders)
    model, architecture = mixed("model", found["model"], folders)
    algorithm, federation = mixed("algorithm", found["algorithm"], folders)
    given = {key: node for key, node in found.items() if node.value is not None}
    values: dict[str, Any] = {"name": path.stem, "seed": 0, "device": "auto"}
    for key in SCALARS.keys() & given.keys():
        values[key] = typed(SCALARS[key], given[key].plain(), f"{given[key].place}: {key}")
    for key in SECTIONS.keys() & given.keys():
        values[key] = section(SECTIONS[key], entries(given[key], key), key)
    for kind in LISTS:
        values[kind] = selections(kind, given.get(kind), kind, folders)
    return Scenario(
        data=data,
        dataset=dataset,
        model=model,
        architecture=architecture,
        algorithm=algorithm,
        federation=federation,
        pruner=selection("pruners", given["pruner"], "pruner", folders) if "pruner" in given else None,
        audit=section(AuditSection, entries(given["audit"], "audit"), "audit") if "audit" in given else None,
        network=section(NetworkSection, entries(given["network"], "network"), "network")
        if "network" in given
        else None,
        source=path,
        **values,
    )


def _with_steps(algorithm: AlgorithmSection) -> AlgorithmSection:
    neither = algorithm.local_steps is None and algorithm.epochs is None
    return replace(algorithm, local_steps=1) if neither else algorithm
