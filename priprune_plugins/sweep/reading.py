"""From SWEEP.yaml to a :class:`Sweep`, without importing a plugin or torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from priprune_plugins.errors import ScenarioError
from priprune_plugins.options import Count
from priprune_plugins.scenario.includes import read_with_includes, with_includes
from priprune_plugins.scenario.nodes import Node
from priprune_plugins.scenario.overrides import overridden
from priprune_plugins.scenario.reading import KEYS as SCENARIO_KEYS
from priprune_plugins.scenario.rules import is_plain_name
from priprune_plugins.scenario.sections_reader import HOST_KEYS, entries
from priprune_plugins.scenario.values import typed
from priprune_plugins.sweep.axes import Axis, axis, meant
from priprune_plugins.sweep.figure_reading import read_figures
from priprune_plugins.sweep.figures import Figure
from priprune_plugins.sweep.scales import SCALES, at_scale, chosen_scale
from priprune_plugins.wording import shown, unknown_key

KEYS = ("name", "base", "grid", "zip", "exclude", "figures", "threads")
_IN_BASE = {f"base.{key}": names for key, names in HOST_KEYS.items()}
Dimension = tuple[Axis, ...]


@dataclass(frozen=True, eq=False)
class Exclusion:
    """Combinations that are left out.

    Args:
        place: ``file:line``.
        values: Per path of an axis, the values of which any is left out; all axes named must agree.
    """

    place: str
    values: Mapping[str, frozenset[str]]


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep as its file says it.

    Args:
        name: Names the sweep's folder; a plain file name.
        source: The file.
        base: The scenario that every cell starts from, its includes merged.
        base_file: The file that ``base`` stands in.
        files: All files that ``base`` was read from.
        dimensions: Axes that move together, in the order of the file; every combination of dimensions is a point.
        exclusions: Points left out.
        threads: CPU threads of each cell. More than one worker runs as many cells at a time, and the number of threads
            decides the last bits of a sum: so it is the sweep's, and not what a machine happens to have.
        figures: What the report draws beside its own tables, from the results.
    """

    name: str
    source: Path
    base: Node
    base_file: Path
    files: tuple[Path, ...]
    dimensions: tuple[Dimension, ...]
    exclusions: tuple[Exclusion, ...]
    threads: int = 1
    figures: tuple[Figure, ...] = ()

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Every axis, in the order of the file."""
        return tuple(one for dimension in self.dimensions for one in dimension)


def read_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Return the sweep of a YAML file; its cells' scenarios are not built yet.

    Args:
        path: The file; ``include`` works as in a scenario.
        overrides: ``--set`` arguments, applied to the base scenario before any axis; ``scale=...`` chooses one of the
            file's ``scales``, and the sweep's name ends in it.

    Raises:
        ScenarioError: One line, ``file:line: path`` first.
    """
    scale, overrides = chosen_scale(overrides)
    node = at_scale(read_with_includes(path, _IN_BASE)[0], scale, _IN_BASE)
    found = entries(node, "sweep")
    _check_keys(found, node.place)
    base_file, base, files = _base(found["base"])
    dimensions = (*_grid(found.get("grid")), *_zips(found.get("zip")))
    axes = {one.path: one for dimension in dimensions for one in dimension}
    _check_axes([one for dimension in dimensions for one in dimension], node.place)
    return Sweep(
        name=_name(found.get("name"), path, scale),
        source=path,
        base=overridden(base, overrides),
        base_file=base_file,
        files=tuple(files),
        dimensions=dimensions,
        exclusions=tuple(_exclusions(found.get("exclude"), axes)),
        threads=_typed(Count, found.get("threads"), "threads", 1),
        figures=read_figures(found.get("figures"), axes),
    )


def _check_keys(found: Mapping[str, Node], place: str) -> None:
    for key, node in found.items():
        if key in SCENARIO_KEYS and key not in KEYS:
            raise ScenarioError(f"{node.place}: {key} belongs into base, the scenario that every cell starts from")
        if key not in KEYS:
            raise ScenarioError(unknown_key(f"{node.place}: {key[:60]}", "a sweep", key, [*KEYS, SCALES, "include"]))
    if "base" not in found or found["base"].value is None:
        raise ScenarioError(f"{place}: base is missing; give a scenario's file, or the scenario itself")
    if not any(key in found and found[key].value for key in ("grid", "zip")):
        raise ScenarioError(f"{place}: a sweep needs axes: grid: {{pruner.rate: [0.1, 0.3]}}, or zip")


def _name(node: Node | None, path: Path, scale: str | None) -> str:
    name = str(_typed(str, node, "name", path.stem))
    name = name if scale is None else f"{name}-{scale}"
    if not is_plain_name(name):
        place = f"{node.place}: " if node else f"{path}: "
        raise ScenarioError(f"{place}name must be a plain name of A-Z a-z 0-9 . _ -, at most 100, got {name[:100]!r}")
    return name


def _typed(hint: Any, node: Node | None, path: str, default: Any) -> Any:
    return default if node is None or node.value is None else typed(hint, node.plain(), f"{node.place}: {path}")


def _base(node: Node) -> tuple[Path, Node, list[Path]]:
    file = Path(node.place.rpartition(":")[0])
    if isinstance(node.value, dict):
        return file, *with_includes(node, file, HOST_KEYS)
    if not isinstance(node.value, str):
        raise ScenarioError(f"{node.place}: base must be a file name or a scenario, got {shown(node.plain())}")
    path = file.parent / node.value
    if not path.is_file():
        raise ScenarioError(f"{node.place}: base: there is no file {shown(str(path))}; paths start at this file")
    return path, *read_with_includes(path, HOST_KEYS)


def _grid(node: Node | None) -> list[Dimension]:
    return [] if node is None else [(axis(path, value),) for path, value in entries(node, "grid").items()]


def _zips(node: Node | None) -> list[Dimension]:
    if node is None or node.value is None:
        return []
    groups = node.value if isinstance(node.value, list) else [node]
    return [_zip(group) for group in groups]


def _zip(node: Node) -> Dimension:
    axes = tuple(axis(path, value) for path, value in entries(node, "zip").items())
    for other in axes[1:]:
        if len(other.values) != len(axes[0].values):
            raise ScenarioError(
                f"{other.place}: axes that move together must have as many values: {other.path} has "
                f"{len(other.values)}, {axes[0].path} has {len(axes[0].values)}"
            )
    return axes


def _check_axes(axes: Sequence[Axis], place: str) -> None:
    first: dict[str, Axis] = {}
    if not axes:
        raise ScenarioError(f"{place}: a sweep needs axes: grid: {{pruner.rate: [0.1, 0.3]}}, or zip")
    for one in axes:
        if one.path in first:
            raise ScenarioError(f"{one.place}: {one.path} is an axis already, at {first[one.path].place}; remove one")
        if one.path in ("name", "include"):
            raise ScenarioError(f"{one.place}: {one.path} cannot be an axis; a cell is named after its values")
        first[one.path] = one


def _exclusions(node: Node | None, axes: Mapping[str, Axis]) -> Iterator[Exclusion]:
    if node is None or node.value is None:
        return
    if not isinstance(node.value, list):
        got = shown(node.plain())
        raise ScenarioError(f"{node.place}: exclude must be a list, got {got}; write - {{pruner.rate: 0.9, seed: 2}}")
    for item in node.value:
        named = entries(item, "exclude")
        if not named:
            raise ScenarioError(f"{item.place}: exclude has an entry without an axis; it would leave nothing")
        for path, value in named.items():
            if path not in axes:
                raise ScenarioError(unknown_key(f"{value.place}: exclude: {path[:60]}", "exclude", path, list(axes)))
        yield Exclusion(item.place, {path: _labels(axes[path], value) for path, value in named.items()})


def _labels(axis: Axis, node: Node) -> frozenset[str]:
    return frozenset(value.label for value in meant(axis, node, "exclude"))
