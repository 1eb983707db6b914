"""The plan of a sweep: every cell as a checked scenario with its key, before anything runs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from priprune_plugins.errors import PriPruneError, ScenarioError
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import Plugins, make_plugins, scenario_warnings
from priprune_plugins.run.combinations import check_combinations
from priprune_plugins.scenario import Scenario
from priprune_plugins.scenario.options import resolved
from priprune_plugins.sweep.figure_cells import check_figures
from priprune_plugins.sweep.points import Point, at_point, points, scenario_at
from priprune_plugins.sweep.reading import Sweep

KEY_LENGTH = 12
# How a run is called, and where and when it keeps what it needs to go on.
_NO_FIGURE = ("name", "checkpoint", "states", "modules")


@dataclass(frozen=True, eq=False)
class Cell:
    """One run of a sweep.

    Args:
        key: Hash of the resolved scenario without what no figure depends on: two ways to say the same have one key.
        training_key: The same without the attacks, where its training may serve other cells; None where it may not.
        scenario: The checked scenario.
        points: The points that resolve to it, usually one.
        document: The resolved scenario, every default written out.
        attacks: Labels of its attacks, as the results name them.
    """

    key: str
    training_key: str | None
    scenario: Scenario
    points: tuple[Point, ...]
    document: Mapping[str, Any]
    attacks: tuple[str, ...] = ()

    @property
    def point(self) -> Point:
        """The first of its points, which names it."""
        return self.points[0]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything a sweep is going to run.

    Args:
        sweep: The sweep.
        cells: One per key, in the order of their first points.
        warnings: What is allowed and known to go wrong, with the number of cells that it concerns.
    """

    sweep: Sweep
    cells: tuple[Cell, ...]
    warnings: tuple[str, ...]

    def shared(self) -> dict[str, list[Cell]]:
        """Return the cells of each training that more than one cell needs."""
        groups: dict[str, list[Cell]] = {}
        for cell in self.cells:
            if cell.training_key is not None:
                groups.setdefault(cell.training_key, []).append(cell)
        return {key: cells for key, cells in groups.items() if len(cells) > 1}


def make_plan(sweep: Sweep) -> Plan:
    """Build and check every cell's scenario and plugins; nothing is computed and nothing written.

    Raises:
        ScenarioError: The first cell that is wrong, or a figure that no cell gives points to.
        PluginError: A plugin breaks a rule.
    """
    built = [(point, scenario_at(sweep, point)) for point in points(sweep)]
    cells: dict[str, Cell] = {}
    warned: dict[str, int] = {}
    for point, scenario in built:
        cell, warnings = _checked(point, scenario)
        known = cells.get(cell.key)
        cells[cell.key] = cell if known is None else _also(known, point)
        for warning in warnings if known is None else ():
            warned[warning] = warned.get(warning, 0) + 1
    check_figures(sweep.figures, tuple(cells.values()))
    return Plan(sweep, tuple(cells.values()), tuple(f"{text} ({n} cells)" for text, n in warned.items()))


def _checked(point: Point, scenario: Scenario) -> tuple[Cell, list[str]]:
    try:
        plugins = make_plugins(scenario)
        host = PluginHost(plugins.hooked)
        check_combinations(scenario, plugins, host)
        _check_device(scenario)
    except PriPruneError as error:
        raise at_point(error, point) from error
    document = resolved(scenario, plugins.instances())
    shareable = training_key(document) if _shareable(plugins, host) else None
    labels = tuple(entry.name for entry in plugins.attacks())
    cell = Cell(cell_key(document), shareable, scenario, (point,), document, labels)
    return cell, scenario_warnings(scenario, plugins)


def _also(cell: Cell, point: Point) -> Cell:
    return replace(cell, points=(*cell.points, point))


def _check_device(scenario: Scenario) -> None:
    if scenario.device.startswith("cuda:"):
        raise ScenarioError(f"device {scenario.device}: a sweep deals the GPUs to its workers; give cuda, or auto")


def _shareable(plugins: Plugins, host: PluginHost) -> bool:
    """Whether a training without this cell's attacks is the same: no tracker follows it, and no attack watches it."""
    followed = any(entry.kind == "trackers" for entry in plugins.hooked)
    return bool(plugins.attacks()) and not followed and not host.only(["attacks"]).implements("on_server_receive")


def cell_key(document: Mapping[str, Any]) -> str:
    """Return the key of a resolved scenario, whatever it is called."""
    return _digest({key: value for key, value in document.items() if key not in _NO_FIGURE})


def training_key(document: Mapping[str, Any]) -> str:
    """Return the key of a resolved scenario's training, whatever attacks it."""
    return _digest({key: value for key, value in document.items() if key not in (*_NO_FIGURE, "attacks")})


def _digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def source_text(path: Path) -> str:
    """Return a sweep's file as it stands."""
    return path.read_text(encoding="utf-8-sig")
