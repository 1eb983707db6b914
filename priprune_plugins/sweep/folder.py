"""The folder of a sweep: its plan, its ledger, its cells, and the lock that keeps two sweeps out of one folder.

::

    sweep.yaml      the file as it stood        sweep.json   axes and cells, keys and folders
    ledger.jsonl    what became of each cell    results.csv, results.jsonl, report.html
    cells/<name>-<key>/         one run folder per cell, whole: it is called <...>.part until it is
    trainings/<key>/            a training that several cells attack
"""

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from priprune_plugins.errors import RunError, ScenarioError
from priprune_plugins.run.folder import write_json, write_text
from priprune_plugins.sweep.axes import short_names
from priprune_plugins.sweep.ledger import DONE, FAILED, RUNNING, Ledger
from priprune_plugins.sweep.plan import Cell, Plan, source_text

PENDING, INTERRUPTED = "pending", "interrupted"
PART = ".part"


class SweepFolder:
    """Where everything of a sweep lies.

    Args:
        path: The folder; need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger(path / "ledger.jsonl")

    def check_new(self) -> None:
        """Refuse a folder that is there already.

        Raises:
            ScenarioError: It is.
        """
        if self.path.exists():
            raise ScenarioError(f"{self.path} exists already: give --resume to go on with it, or another --out")

    def check_ours(self) -> None:
        """Refuse to resume in a folder of something else.

        Raises:
            ScenarioError: It holds files and is no sweep's.
        """
        if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir()) and not self.is_sweep()):
            raise ScenarioError(f"{self.path} is no sweep's folder: it has no sweep.json; give another --out")

    def is_sweep(self) -> bool:
        """Whether a sweep has written its plan here."""
        return (self.path / "sweep.json").is_file()

    def prepare(self, plan: Plan) -> None:
        """Write the plan into the folder, which the caller has locked."""
        write_text(self.path / "sweep.yaml", source_text(plan.sweep.source))
        write_json(self.path / "sweep.json", self._described(plan))

    def _described(self, plan: Plan) -> dict[str, Any]:
        return {
            "name": plan.sweep.name,
            "threads": plan.sweep.threads,
            "axes": {axis.path: [value.label for value in axis.values] for axis in plan.sweep.axes},
            "short": short_names(plan.sweep.axes),
            "figures": [asdict(figure) for figure in plan.sweep.figures],
            "points": [
                {
                    "cell": point.name,
                    "label": point.label,
                    "key": cell.key,
                    "labels": {path: value.label for path, value in point.values.items()},
                    "values": {path: value.column for path, value in point.values.items()},
                }
                for cell in plan.cells
                for point in cell.points
            ],
        }

    def new_cell(self, cell: Cell) -> Path:
        """Return where a cell's run folder goes."""
        return self.path / "cells" / f"{cell.scenario.name}-{cell.key}"

    def cells(self) -> dict[str, Path]:
        """Return the whole run folders by key; a changed sweep may call its cells otherwise."""
        return {path.name.rpartition("-")[2]: path for path in sorted(self.path.glob("cells/*-*")) if _is_whole(path)}

    def new_cell_part(self, cell: Cell) -> Path:
        """Return where a cell's run folder is made until it is whole."""
        return self.path / "cells" / f"{cell.scenario.name}-{cell.key}{PART}"

    def training(self, key: str) -> Path:
        """Return where a shared training lies, or goes."""
        return self.path / "trainings" / key

    def training_part(self, key: str, cell_key: str) -> Path:
        """Return where a shared training is made, by the scenario of that cell, whose attacks change nothing in it."""
        return self.path / "trainings" / f"{key}-{cell_key}{PART}"

    def states(self, keys: Iterable[str]) -> dict[str, str]:
        """Return ``done``, ``failed``, ``interrupted`` or ``pending`` per key."""
        last, whole = self.ledger.last(), self.cells()
        recorded = {key: last.get(key, {}).get("state", "") for key in keys}
        unfinished = {FAILED: FAILED, RUNNING: INTERRUPTED}
        # The folder decides: it gets its name after its last file, and a user may have removed it.
        return {key: DONE if key in whole else unfinished.get(state, PENDING) for key, state in recorded.items()}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep every other sweep out of it.

        Raises:
            ScenarioError: It cannot be made.
            RunError: Another sweep is at work in it.
        """
        try:
            (self.path / "cells").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ScenarioError(f"cannot make the sweep's folder {self.path}: {error.strerror}") from error
        with (self.path / "lock").open("w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    f"another sweep is at work in {self.path}; wait for it, or give another --out"
                ) from error
            yield


def _is_whole(path: Path) -> bool:
    return not path.name.endswith(PART) and (path / "summary.json").is_file()
