"""The results of a sweep: one line per (cell, attack), every axis a column."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from priprune_plugins.run.folder import write_text
from priprune_plugins.sweep.columns import ABOUT_UPLOADS, OF_ATTACK, OF_RUN, identity
from priprune_plugins.sweep.folder import SweepFolder
from priprune_plugins.sweep.parquet import write_parquet

Row = dict[str, Any]


def write_results(folder: Path) -> list[Row]:
    """Write the results of a sweep's done cells into its folder, and return their rows.

    ``results.csv`` and ``results.jsonl`` always, ``results.parquet`` where pyarrow is installed.
    """
    rows = results(folder)
    write_text(folder / "results.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "results.csv", text.getvalue())
    write_parquet(folder / "results.parquet", rows)
    return rows


def results(folder: Path) -> list[Row]:
    """Return one row per point and attack of the cells that are done; one without an attack where a cell has none.

    A figure that a run or an attack does not have is None. ``withheld_rate`` and ``gradient_mass_withheld`` are means
    over the rounds of training, ``attacked_...`` over the uploads that the attack saw.
    """
    plan = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    cells = SweepFolder(folder).cells()
    done = [point for point in plan["points"] if point["key"] in cells]
    return [row for point in done for row in _rows(cells[point["key"]], point)]


def _rows(cell: Path, point: Mapping[str, Any]) -> Iterator[Row]:
    summary = json.loads((cell / "summary.json").read_text(encoding="utf-8"))
    scenario = yaml.safe_load((cell / "scenario.yaml").read_text(encoding="utf-8"))
    about = {
        "cell": point["cell"],
        "key": point["key"],
        "folder": f"cells/{cell.name}",
        **identity(scenario, point["values"]),
    }
    run = {figure: summary.get(figure) for figure in OF_RUN}
    for name, figures in summary["attacks"].items() or [(None, {})]:
        yield {**about, "attack": name, **run, **_of_attack(figures)}


def _of_attack(figures: Mapping[str, Any]) -> Row:
    floors = _floors(figures, "psnr_db")
    best = max(floors, key=lambda name: floors[name], default=None)
    alike = _floors(figures, "nmi")
    control = figures.get("positive_control") or {}
    return {
        **{figure: figures.get(figure) for figure in OF_ATTACK},
        **{f"attacked_{figure}": figures.get(figure) for figure in ABOUT_UPLOADS},
        "best_floor": best,
        "best_floor_psnr_db": None if best is None else floors[best],
        # Each measure against its own strongest floor: a black picture may have the best PSNR and the least NMI.
        "best_floor_nmi": max(alike.values(), default=None),
        "control_passed": control.get("passed"),
        "control_psnr_db": control.get("psnr_db"),
        **{f"floor_{name}_psnr_db": value for name, value in sorted(floors.items())},
        **{f"floor_{name}_nmi": value for name, value in sorted(alike.items())},
    }


def _floors(figures: Mapping[str, Any], measure: str) -> dict[str, float]:
    found = {name: floor.get(measure) for name, floor in figures.get("floors", {}).items()}
    return {name: value for name, value in found.items() if value is not None}
