"""The points of a sweep: one value of every axis, and the scenario that they make of the base."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from priprune_plugins.errors import PriPruneError, ScenarioError
from priprune_plugins.scenario import Scenario
from priprune_plugins.scenario.nodes import Node
from priprune_plugins.scenario.overrides import assigned
from priprune_plugins.scenario.reading import scenario_of
from priprune_plugins.sweep.axes import Value, file_name, short_names
from priprune_plugins.sweep.reading import Exclusion, Sweep

MAX_POINTS = 10_000
_MAX_NAME = 80


@dataclass(frozen=True, eq=False)
class Point:
    """One value of every axis.

    Args:
        name: What they are, as a plain file name: ``rate-0.3_defenses-none``.
        label: The same for a reader: ``rate=0.3 defenses=none``.
        values: The value of each axis by path.
    """

    name: str
    label: str
    values: Mapping[str, Value]


def points(sweep: Sweep) -> list[Point]:
    """Return the points that the exclusions leave, the last dimension moving fastest.

    Raises:
        ScenarioError: None is left, or more than 10,000.
    """
    total = 1
    for dimension in sweep.dimensions:
        total *= len(dimension[0].values)
    if total > MAX_POINTS:
        raise ScenarioError(f"{sweep.source}: {total:,} combinations, at most {MAX_POINTS:,}; split the sweep")
    names = short_names(sweep.axes)
    left = [values for values in _combinations(sweep) if not any(_excluded(e, values) for e in sweep.exclusions)]
    if not left:
        raise ScenarioError(f"{sweep.exclusions[0].place}: exclude leaves out all {total} combinations; remove some")
    seen: Counter[str] = Counter()
    return [_point(values, names, seen) for values in left]


def scenario_at(sweep: Sweep, point: Point) -> Scenario:
    """Return the base scenario with the values of one point, its keys, names and host values checked.

    Raises:
        ScenarioError: One line that names the point where a value's own place does not.
    """
    node = sweep.base
    # `pruner` before `pruner.rate`, whichever is written first: set last, it would take the rate away.
    for path in sorted(point.values, key=lambda path: path.count(".") + path.count("[")):
        node = assigned(node, path, point.values[path].node)
    try:
        return scenario_of(_named(node, point.name[:_MAX_NAME]), sweep.base_file, sweep.files)
    except PriPruneError as error:
        raise at_point(error, point) from error


def at_point(error: PriPruneError, point: Point) -> PriPruneError:
    """Return the same error with the point at its end."""
    return type(error)(f"{error} (cell {point.label})")


def _combinations(sweep: Sweep) -> Iterator[dict[str, Value]]:
    choices = [range(len(dimension[0].values)) for dimension in sweep.dimensions]
    for chosen in product(*choices):
        yield {
            axis.path: axis.values[index]
            for dimension, index in zip(sweep.dimensions, chosen, strict=True)
            for axis in dimension
        }


def _excluded(exclusion: Exclusion, values: Mapping[str, Value]) -> bool:
    return all(values[path].label in labels for path, labels in exclusion.values.items())


def _point(values: Mapping[str, Value], names: Mapping[str, str], seen: Counter[str]) -> Point:
    parts = {names[path]: value.label for path, value in values.items()}
    name = file_name(parts)
    seen[name] += 1
    # A file name has fewer letters than a label: two points may come to the same.
    unique = name if seen[name] == 1 else f"{name}-{seen[name]}"
    return Point(unique, " ".join(f"{name}={label}" for name, label in parts.items()), values)


def _named(node: Node, name: str) -> Node:
    entries = node.value if isinstance(node.value, dict) else {}
    return Node({**entries, "name": Node(name, node.place)}, node.place)
