import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from priprune_plugins.sweep import Sweep
from priprune_plugins.sweep.folder import SweepFolder
from priprune_plugins.sweep.plan import make_plan
from priprune_plugins.sweep.results import write_results
from priprune_plugins.sweep.schedule import run_sweep


def test_one_line_per_point_and_attack_with_every_axis_as_a_column(
    sweep: Callable[..., Sweep], tmp_path: Path, in_turn: Any
) -> None:
    # 0.3 is the default: one cell, two points, and two lines per attack.
    text = """\
grid:
  pruner: {a: {name: random, rate: 0.3}, b: {name: random}}
  defenses: [[{name: largest, rate: 0.2}]]
  attacks: [[{name: sgi, iterations: 1, starts: [uniform]}, {name: gi, iterations: 1, starts: [uniform]}]]
"""
    plan = make_plan(sweep(text))
    folder = SweepFolder(tmp_path / "out")
    with folder.locked():
        folder.prepare(plan)
        assert run_sweep(plan, folder, in_turn) == {}
    assert len(in_turn.done) == 1
    rows = [json.loads(line) for line in (folder.path / "results.jsonl").read_text().splitlines()]
    assert [row["pruner"] for row in rows] == ["a", "a", "b", "b"]
    assert [{row["attack"] for row in rows[start : start + 2]} for start in (0, 2)] == [{"sgi", "gi"}] * 2
    assert {row["defenses"] for row in rows} == {"largest"} and {row["attacks"] for row in rows} == {"sgi+gi"}
    (cell,) = folder.cells().values()
    summary = json.loads((cell / "summary.json").read_text())
    first = next(row for row in rows if row["attack"] == "sgi")
    for figure in ("accuracy", "density", "withheld_rate", "gradient_mass_withheld", "bytes_up", "seconds"):
        assert first[figure] == summary[figure]
    for figure in ("nmi", "psnr_db", "ssim", "victims"):
        assert first[figure] == summary["attacks"]["sgi"][figure]
    floors = {name: floor["psnr_db"] for name, floor in summary["attacks"]["sgi"]["floors"].items()}
    assert first["best_floor_psnr_db"] == max(floors.values()) == floors[first["best_floor"]]
    assert first["control_passed"] is False
    with (folder.path / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["psnr_db"] for row in table] == [str(row["psnr_db"]) for row in rows]
    assert list(table[0]) == list(first)


def test_a_cell_without_an_attack_has_a_line_of_its_own(
    sweep: Callable[..., Sweep], tmp_path: Path, in_turn: Any
) -> None:
    folder = SweepFolder(tmp_path / "out")
    with folder.locked():
        plan = make_plan(sweep("grid: {attacks: [[]], audit: [null], seed: [1]}\n"))
        folder.prepare(plan)
        assert write_results(folder.path) == []
        run_sweep(plan, folder, in_turn)
    (row,) = write_results(folder.path)
    assert (row["seed"], row["attack"], row["psnr_db"], row["control_passed"]) == (1, None, None, None)
    assert row["accuracy"] is not None
