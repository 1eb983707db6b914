"""What the report of a sweep reads: the files of the sweep's folder, and no cell's but for its versions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from priprune_plugins.errors import ScenarioError
from priprune_plugins.report.run_files import json_lines, json_object
from priprune_plugins.sweep.figures import Figure

Row = Mapping[str, Any]


@dataclass(frozen=True)
class SweepFiles:
    """The files of a sweep's folder as values.

    Args:
        folder: The folder.
        name: The sweep's name.
        axes: Labels of the values of each axis, by path.
        short: A short name of each axis, by path.
        points: One per combination: ``cell``, ``label`` and ``key``.
        labels: The label of each axis, by the point's ``cell`` and path.
        rows: Lines of ``results.jsonl``.
        failed: The error of each failed cell, by key.
        figures: What the sweep's file asks to draw.
        text: ``sweep.yaml`` as it stands.
        environment: ``environment.json`` of the first cell that is done.
        notes: One sentence per file that is damaged.
    """

    folder: Path
    name: str
    axes: Mapping[str, list[str]]
    short: Mapping[str, str]
    points: list[Row]
    labels: Mapping[str, Mapping[str, str]]
    rows: list[Row]
    failed: Mapping[str, str]
    figures: list[Figure]
    text: str
    environment: Mapping[str, Any]
    notes: list[str]

    def in_words(self, row: Row, paths: Iterable[str]) -> str:
        """Return the values of some axes in a line of the results: ``rate=0.3, seed=1``."""
        labels = self.labels.get(str(row["cell"]), {})
        return ", ".join(f"{self.short[path]}={labels[path]}" for path in paths if path in labels)


def read_sweep_folder(folder: Path) -> SweepFiles:
    """Return the files of a sweep's folder.

    Raises:
        ScenarioError: It is none: it has no readable ``sweep.json``.
    """
    notes: list[str] = []
    plan = json_object(folder / "sweep.json", notes)
    if not {"name", "axes", "short", "points"} <= plan.keys():
        raise ScenarioError(f"{folder} is no sweep's folder: it has no whole sweep.json; give what priprune sweep made")
    rows = json_lines(folder / "results.jsonl", notes, ("cell", "key", "attack", "folder"))
    last = {line["key"]: line for line in json_lines(folder / "ledger.jsonl", [], ("key", "state"))}
    done = {row["key"] for row in rows}
    failed = {key: str(line.get("error")) for key, line in last.items() if line["state"] == "failed"}
    text = folder / "sweep.yaml"
    return SweepFiles(
        folder=folder,
        name=str(plan["name"]),
        axes=plan["axes"],
        short=plan["short"],
        points=plan["points"],
        labels={point["cell"]: point["labels"] for point in plan["points"]},
        rows=[*rows],
        failed={point["key"]: failed[point["key"]] for point in plan["points"] if point["key"] in failed.keys() - done},
        figures=_figures(plan.get("figures"), notes),
        text=text.read_text(encoding="utf-8", errors="replace") if text.is_file() else "",
        environment=_environment(folder, [*rows], notes),
        notes=notes,
    )


def _figures(given: Any, notes: list[str]) -> list[Figure]:
    try:
        return [Figure(**entry) for entry in given or ()]
    except (TypeError, KeyError):
        notes.append("The figures in sweep.json are damaged and were left out.")
        return []


def _environment(folder: Path, rows: list[Row], notes: list[str]) -> Mapping[str, Any]:
    cells = dict.fromkeys(str(row["folder"]) for row in rows)
    # Only a cell of this sweep: a damaged line names no file elsewhere.
    paths = [folder / "cells" / Path(cell).name / "environment.json" for cell in cells]
    return next((json_object(path, notes) for path in paths if path.is_file()), {})
