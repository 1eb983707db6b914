"""``--set a.b=c``: one value of a scenario, replaced or added on the command line."""

import re
from collections.abc import Sequence

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.includes import INCLUDE
from priprune_plugins.scenario.nodes import Node
from priprune_plugins.scenario.yaml_reader import parse_yaml
from priprune_plugins.wording import shown

_STEP = re.compile(r"(?:^|\.)([A-Za-z_][\w-]*)|\[(\d{1,6})\]")


def overridden(node: Node, overrides: Sequence[str]) -> Node:
    """Return ``node`` with each override applied, in order.

    Args:
        node: A mapping.
        overrides: ``path=value`` each; the path is ``pruner.rate`` or ``attacks[0].iterations``, the value YAML. A
            mapping on the way that is not there is made; a list takes a new entry at its end.

    Raises:
        ScenarioError: Not ``path=value``, or a path through something that is no mapping or list.
    """
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals:
            raise ScenarioError(f"--set must be path=value, got {shown(override)}; for instance --set pruner.rate=0.5")
        place = f"--set {path.strip()}"
        if path.strip() == INCLUDE:
            raise ScenarioError(f"{place}: a scenario includes others in its file only; write the line there")
        value = parse_yaml(text, place, whole=place)
        node = _assigned(node, _steps(path.strip(), "--set"), value, "")
    return node


def assigned(node: Node, path: str, value: Node) -> Node:
    """Return ``node`` with one value replaced or added, as by ``--set``; errors begin with the value's place.

    Raises:
        ScenarioError: Not a path, or one through something that is no mapping or list.
    """
    return _assigned(node, _steps(path, f"{value.place}:"), value, "")


def _steps(path: str, at: str) -> list[str | int]:
    steps: list[str | int] = []
    end = 0
    while end < len(path) and (match := _STEP.match(path, end)):
        steps.append(match[1] if match[2] is None else int(match[2]))
        end = match.end()
    if not steps or end < len(path) or isinstance(steps[0], int):
        raise ScenarioError(f"{at} {shown(path)}: write a path like pruner.rate or attacks[0].iterations")
    return steps


def _assigned(node: Node, steps: Sequence[str | int], value: Node, path: str) -> Node:
    if not steps:
        return value
    first, *rest = steps
    return (
        _in_list(node, first, rest, value, path)
        if isinstance(first, int)
        else _in_mapping(node, first, rest, value, path)
    )


def _in_mapping(node: Node, key: str, rest: Sequence[str | int], value: Node, path: str) -> Node:
    if node.value is not None and not isinstance(node.value, dict):
        raise ScenarioError(f"{value.place}: {path} is no mapping, got {shown(node.plain())}; it has no key {key!r}")
    entries = dict(node.value or {})
    below = entries.get(key, Node(None, value.place))
    entries[key] = _assigned(below, rest, value, f"{path}.{key}" if path else key)
    return Node(entries, node.place)


def _in_list(node: Node, position: int, rest: Sequence[str | int], value: Node, path: str) -> Node:
    if node.value is not None and not isinstance(node.value, list):
        raise ScenarioError(f"{value.place}: {path} is no list, got {shown(node.plain())}; leave out [{position}]")
    items = list(node.value or [])
    if position > len(items):
        raise ScenarioError(f"{value.place}: {path} has {len(items)} entries, got [{position}]; they count from 0")
    below = items[position] if position < len(items) else Node(None, value.place)
    items[position : position + 1] = [_assigned(below, rest, value, f"{path}[{position}]")]
    return Node(items, node.place)
