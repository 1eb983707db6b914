"""From nodes to the typed sections and selections of a scenario."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.nodes import Node
from priprune_plugins.scenario.sections import AlgorithmSection, DataSection, ModelSection
from priprune_plugins.scenario.selection import Selection
from priprune_plugins.scenario.values import typed
from priprune_plugins.wording import shown, unknown_key

Section = TypeVar("Section")
MIXED: Mapping[str, tuple[type, str]] = {
    "data": (DataSection, "datasets"),
    "model": (ModelSection, "models"),
    "algorithm": (AlgorithmSection, "algorithms"),
}
HOST_KEYS: Mapping[str, frozenset[str]] = {
    key: frozenset(field.name for field in fields(section)) for key, (section, _) in MIXED.items()
}


def entries(node: Node, path: str) -> dict[str, Node]:
    """Return a mapping's entries; null has none.

    Raises:
        ScenarioError: The value is no mapping.
    """
    if node.value is None:
        return {}
    if not isinstance(node.value, dict):
        got = shown(node.plain())
        raise ScenarioError(f"{node.place}: {path} must be a mapping, got {got}; {_instead(node.value)}")
    return node.value


def _instead(value: object) -> str:
    if not isinstance(value, str):
        return "write its keys below it"
    without = value.lower() in ("none", "no", "off", "nothing")
    return "remove the line to do without" if without else f"write {{name: {value}}}"


def section(cls: type[Section], found: Mapping[str, Node], path: str) -> Section:
    """Return one section of host keys.

    Raises:
        ScenarioError: A key is unknown, or its value wrong.
    """
    hints = get_type_hints(cls, include_extras=True)
    for key, node in found.items():
        if key not in hints:
            raise ScenarioError(unknown_key(f"{node.place}: {path}.{key}", path, key, list(hints)))
    return cls(**{key: typed(hints[key], node.plain(), f"{node.place}: {path}.{key}") for key, node in found.items()})


def mixed(key: str, node: Node, folders: tuple[Path, ...]) -> tuple[Any, Selection]:
    """Return the host's section and the chosen plugin of ``data``, ``model`` or ``algorithm``."""
    cls, kind = MIXED[key]
    found = entries(node, key)
    host = {name: value for name, value in found.items() if name in HOST_KEYS[key]}
    rest = {name: value for name, value in found.items() if name not in HOST_KEYS[key]}
    return section(cls, host, key), selection(kind, Node(rest, node.place), key, folders)


def selection(kind: str, node: Node, path: str, folders: tuple[Path, ...]) -> Selection:
    """Return the plugin that a mapping chooses, its options unread.

    Raises:
        ScenarioError: No mapping, or no name.
    """
    found = dict(entries(node, path))
    if "name" not in found:
        raise ScenarioError(f"{node.place}: {path}.name is missing; choose one that priprune list {kind} shows")
    name = found.pop("name")
    chosen = str(typed(str, name.plain(), f"{name.place}: {path}.name"))
    options = {key: value.plain() for key, value in found.items()}
    return Selection(kind, chosen, options, path, dict(node.places(path)), folders)


def selections(kind: str, node: Node | None, path: str, folders: tuple[Path, ...]) -> tuple[Selection, ...]:
    """Return the plugins of a list; null is an empty one.

    Raises:
        ScenarioError: No list, or a wrong entry.
    """
    if node is None or node.value is None:
        return ()
    if not isinstance(node.value, list):
        got = shown(node.plain())
        raise ScenarioError(f"{node.place}: {path} must be a list, got {got}; write [{{name: ...}}]")
    items: Iterable[tuple[int, Node]] = enumerate(node.value)
    return tuple(selection(kind, item, f"{path}[{position}]", folders) for position, item in items)
