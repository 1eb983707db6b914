"""What a sweep's file may ask to be drawn, and what is refused before anything runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.sweep import Sweep
from priprune_plugins.sweep.figures import Figure
from priprune_plugins.sweep.folder import SweepFolder
from priprune_plugins.sweep.plan import Plan, make_plan

MakeSweep = Callable[..., Sweep]
GRID = """\
grid:
  pruner.rate: [0.1, 0.5]
  defenses: {none: [], largest: [{name: largest, rate: 0.3}]}
  seed: [1, 2]
figures:
"""
LINE = 11 + GRID.count("\n") + 1  # of the first figure, after the base in conftest


def planned(sweep: MakeSweep, *figures: str, grid: str = GRID) -> Plan:
    return make_plan(sweep(grid + "".join(f"  - {{{figure}}}\n" for figure in figures)))


def test_figures_are_read_with_their_defaults_and_survive_the_sweeps_folder(sweep: MakeSweep, tmp_path: Path) -> None:
    plan = planned(
        sweep,
        "title: a, x: pruner.rate, y: nmi, series: defenses",
        "title: b, y: loss, over: rounds, series: [defenses, attack], panels: pruner.rate",
        "title: c, kind: bar, x: defenses, y: accuracy, where: {pruner.rate: 0.5, attack: sgi}, reduce: median",
        "title: d, kind: scatter, x: accuracy, y: nmi, where: {defenses: [none, largest]}",
        "title: e, kind: reconstructions, x: pruner.rate, series: defenses, y: nmi",
    )
    line, curves, bars, scatter, _ = plan.sweep.figures
    assert (line.kind, line.reduce, line.over, line.dimensions) == (
        "line",
        "mean",
        "cells",
        ("pruner.rate", "defenses"),
    )
    assert curves.x == "round" and curves.dimensions == ("defenses", "attack", "pruner.rate")
    assert bars.where == {"pruner.rate": (0.5,), "attack": ("sgi",)} and scatter.dimensions == ()
    folder = SweepFolder(tmp_path / "out")
    with folder.locked():
        folder.prepare(plan)
    stored = json.loads((folder.path / "sweep.json").read_text())["figures"]
    again = [Figure(**entry) for entry in stored]
    assert [figure.dimensions for figure in again] == [figure.dimensions for figure in plan.sweep.figures]
    row = {"pruner.rate": 0.5, "attack": "sgi"}
    assert again[2].shows(row) and not again[2].shows({**row, "pruner.rate": 0.1})


WRONG = [
    ("x: pruner.rate", ".title is missing; say in a few words"),
    ("title: a, x: pruner.rate, y: nmi16", ".y is no figure of the results, got 'nmi16'; did you mean 'nmi'?"),
    ("title: a, x: puner.rate, y: nmi", ".x is no axis, got 'puner.rate'; did you mean 'pruner.rate'?"),
    ("title: a, x: pruner.rate, serie: defenses", ".serie is unknown; did you mean 'series'? a figure takes"),
    ("title: a, x: pruner.rate, series: defense", ".series is no axis, got 'defense'; did you mean 'defenses'?"),
    ("title: a, x: pruner.rate, kind: lines", ".kind must be line or scatter or bar or reconstructions, got 'lines'"),
    ("title: a, x: accuracy, kind: bar", ".x is no axis, got 'accuracy'"),
    ("title: a", ".x is missing; name an axis of the sweep"),
    ("title: a, x: seed", ".x cannot be seed"),
    ("title: a, x: pruner.rate, series: seed", ".series cannot be seed"),
    ("title: a, x: pruner.rate, series: pruner.rate", ".series names pruner.rate again"),
    ("title: a, y: loss, over: rounds, kind: bar", ".kind must be line over rounds, got bar"),
    ("title: a, y: median_rank, over: rounds", ".y is no figure of a round, got 'median_rank'"),
    (
        "title: a, x: pruner.rate, kind: reconstructions, y: ssim",
        ".y is no caption, got 'ssim'; there are psnr_db, nmi",
    ),
    ("title: a, x: pruner.rate, where: {defenses: larges}", ".where: defenses has no value 'larges'; it has none"),
    ("title: a, x: pruner.rate, where: {defence: none}", ".where: is no axis, got 'defence'; did you mean 'defenses'?"),
    ("title: a, x: pruner.rate", ": one point would mix defenses none, largest; name defenses in series or panels"),
    ("title: a, y: accuracy, over: rounds, series: defenses", ": one point would mix pruner.rate 0.1, 0.5"),
    ("title: a, x: pruner.rate, where: {attack: sgj}", ".where: no cell has attack 'sgj'; did you mean 'sgi'?"),
]


@pytest.mark.parametrize(("figure", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_figure_is_refused_in_one_line_with_its_place(figure: str, message: str, sweep: MakeSweep) -> None:
    with pytest.raises(ScenarioError) as caught:
        planned(sweep, figure)
    text = str(caught.value)
    assert f"small.yaml:{LINE}: figures[0]{message}" in text and "\n" not in text


TWO_ATTACKS = """\
grid:
  pruner.rate: [0.1, 0.5]
  attacks: [[{name: sgi, iterations: 2, starts: [uniform]}, {name: gi, iterations: 2, starts: [uniform]}]]
figures:
"""


def test_two_attacks_must_be_told_apart_only_where_an_attacks_figure_is_drawn(sweep: MakeSweep) -> None:
    assert planned(sweep, "title: a, x: pruner.rate, y: accuracy", grid=TWO_ATTACKS)
    assert planned(sweep, "title: a, x: pruner.rate, y: nmi, series: attack", grid=TWO_ATTACKS)
    with pytest.raises(ScenarioError, match="one point would mix attack sgi, gi"):
        planned(sweep, "title: a, x: accuracy, y: nmi, kind: scatter", grid=TWO_ATTACKS)


def test_axes_that_move_together_with_a_named_one_are_not_mixed(sweep: MakeSweep) -> None:
    grid = "zip: {pruner.rate: [0.1, 0.5], rounds: [2, 3]}\nfigures:\n"
    assert planned(sweep, "title: a, x: pruner.rate, y: accuracy", grid=grid)


def test_a_figure_of_an_attack_needs_a_cell_with_one(sweep: MakeSweep) -> None:
    grid = "grid: {attacks: [[]], audit: [null], pruner.rate: [0.1, 0.5]}\nfigures:\n"
    with pytest.raises(ScenarioError, match="draws an attack's figure, and no cell that it shows has an attack"):
        planned(sweep, "title: a, x: pruner.rate, y: nmi", grid=grid)


def test_figures_change_no_cell(sweep: MakeSweep) -> None:
    without = make_plan(sweep(GRID.removesuffix("figures:\n")))
    drawn = planned(sweep, "title: a, x: pruner.rate, y: nmi, series: defenses")
    assert [cell.key for cell in drawn.cells] == [cell.key for cell in without.cells]
