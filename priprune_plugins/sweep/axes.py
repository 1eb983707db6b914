"""Axes of a sweep: the values that one key of the scenario takes, each with a short label."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.nodes import Node
from priprune_plugins.wording import shown

_MOST = 60
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.]+")


@dataclass(frozen=True, eq=False)
class Value:
    """One value of an axis.

    Args:
        label: Short and unique in its axis, for instance ``0.3`` or ``largest``.
        node: The value with its place.
    """

    label: str
    node: Node

    @property
    def column(self) -> str | int | float | bool | None:
        """The value as a column of the results holds it: scalars as they are, everything else by its label."""
        value = self.node.value
        return self.label if isinstance(value, dict | list) else value

    def is_(self, given: Any) -> bool:
        """Whether a user who writes ``given`` means this value: the value itself, or its label."""
        return given == self.label or _same(given, self.node.plain())


@dataclass(frozen=True, eq=False)
class Axis:
    """One key of the scenario and the values that it takes.

    Args:
        path: The key, for instance ``pruner.rate``.
        place: ``file:line`` of the axis.
        values: At least one, labels unique.
    """

    path: str
    place: str
    values: tuple[Value, ...]


def axis(path: str, node: Node) -> Axis:
    """Return an axis from a list of values, or from a mapping of labels to values.

    Raises:
        ScenarioError: Neither, no value, or the same value twice.
    """
    if isinstance(node.value, dict) and "name" not in node.value:
        values = tuple(Value(label, value) for label, value in node.value.items())
    elif isinstance(node.value, list):
        values = tuple(map(Value, _labels([item.plain() for item in node.value]), node.value))
    else:
        got = shown(node.plain())
        raise ScenarioError(f"{node.place}: {path} must be a list of values, or label: value, got {got}; write [{got}]")
    if not values:
        raise ScenarioError(f"{node.place}: {path} has no value; give at least one, or remove it")
    for position, value in enumerate(values):
        if any(_same(value.node.plain(), other.node.plain()) for other in values[:position]):
            raise ScenarioError(f"{value.node.place}: {path} has the value {shown(value.node.plain())} twice; keep one")
    return Axis(path, node.place, values)


def meant(axis: Axis, node: Node, what: str) -> list[Value]:
    """Return the values of an axis that a user names, by value or label, one or a list of them.

    Args:
        axis: The axis.
        node: What the user wrote.
        what: Whose key it stands in, for instance ``exclude``.

    Raises:
        ScenarioError: It has no such value.
    """
    given = node.plain()
    one = [value for value in axis.values if value.is_(given)]
    if one:
        return one
    several = given if isinstance(given, list) else [given]
    if not several or not all(any(value.is_(item) for value in axis.values) for item in several):
        there = ", ".join(value.label for value in axis.values)
        raise ScenarioError(f"{node.place}: {what}: {axis.path} has no value {shown(given)}; it has {there}")
    return [value for value in axis.values if any(value.is_(item) for item in several)]


def short_names(axes: Sequence[Axis]) -> dict[str, str]:
    """Return a short name per path: its last key, where no other axis ends in the same, else the whole path."""
    last = {axis.path: axis.path.rpartition(".")[2] for axis in axes}
    count = Counter(last.values())
    return {path: name if count[name] == 1 else path for path, name in last.items()}


def file_name(parts: Mapping[str, str]) -> str:
    """Return a plain name of ``short name -> label``, for instance ``rate-0.3_defenses-none``."""
    return "_".join(_NOT_IN_NAMES.sub("-", f"{name}-{label}").strip("-") for name, label in parts.items())


def brief(value: Any) -> str:
    """Return a value in few words: plugins by their names, none for nothing."""
    return _label(value, options=False)


def _labels(values: Sequence[Any]) -> list[str]:
    short = [brief(value) for value in values]
    count = Counter(short)
    full = [
        label if count[label] == 1 else _label(value, options=True) for label, value in zip(short, values, strict=True)
    ]
    seen: Counter[str] = Counter()
    labels = []
    for label in full:
        cut = label if len(label) <= _MOST else f"{label[: _MOST - 1]}…"
        seen[cut] += 1
        labels.append(cut if seen[cut] == 1 else f"{cut} {seen[cut]}")
    return labels


def _label(value: Any, options: bool) -> str:
    """Return a value in few words: plugins by name, with their options where names alone would not tell them apart."""
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        rest = {key: item for key, item in value.items() if key != "name"}
        name = str(value.get("name", "")).rpartition(":")[2]
        inner = " ".join(f"{key}={_label(item, options)}" for key, item in rest.items())
        return f"{name}({inner})" if name and options and rest else name or inner
    if isinstance(value, list):
        return "+".join(_label(item, options) for item in value)
    return str(value)


def _same(one: Any, other: Any) -> bool:
    # Python takes true for 1.
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)
