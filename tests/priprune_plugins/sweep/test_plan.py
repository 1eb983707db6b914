from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.errors import PriPruneError
from priprune_plugins.sweep import Sweep
from priprune_plugins.sweep.plan import make_plan

MakeSweep = Callable[..., Sweep]
ATTACKS = "{short: [{name: gi, iterations: 2}], long: [{name: gi, iterations: 4}], other: [{name: sgi}]}"


def test_two_ways_to_say_the_same_are_one_cell(sweep: MakeSweep) -> None:
    # 0.3 is random's default.
    plan = make_plan(sweep("grid: {pruner: {a: {name: random, rate: 0.3}, b: {name: random}}}\n"))
    (cell,) = plan.cells
    assert [point.name for point in cell.points] == ["pruner-a", "pruner-b"]


def test_a_key_depends_on_every_value_but_the_name(sweep: MakeSweep) -> None:
    one = make_plan(sweep("grid: {seed: [1, 2]}\n"))
    renamed = make_plan(sweep("grid: {seed: [2, 1], rounds: [2]}\n"))
    assert {c.key for c in one.cells} == {c.key for c in renamed.cells}
    assert one.cells[0].key != one.cells[1].key
    assert one.cells[0].key == renamed.cells[1].key


def test_a_key_does_not_depend_on_what_no_figure_depends_on(sweep: MakeSweep) -> None:
    (cell,) = make_plan(sweep("grid: {checkpoint.seconds: [60.0, 5.0]}\n")).cells
    assert len(cell.points) == 2


def test_cells_that_differ_in_the_attack_share_a_training(sweep: MakeSweep) -> None:
    plan = make_plan(sweep(f"grid:\n  attacks: {ATTACKS}\n  seed: [1, 2]\n"))
    assert len(plan.cells) == 6
    assert sorted(len(cells) for cells in plan.shared().values()) == [3, 3]
    for cells in plan.shared().values():
        assert len({cell.scenario.seed for cell in cells}) == 1


WATCHER = """
from dataclasses import dataclass
from priprune_plugins import hookimpl

@dataclass(frozen=True, eq=False)
class Watches:
    depth: int = 1

    @hookimpl
    def on_server_receive(self, server, upload):
        server.state(self)["seen"] = True

    @hookimpl
    def reconstruct(self, observations, generator, progress):
        raise NotImplementedError

@dataclass(frozen=True, eq=False)
class Follows:
    @hookimpl
    def on_round_end(self, server, record):
        pass
"""


def test_a_training_that_an_attack_watches_or_a_tracker_follows_is_not_shared(
    sweep: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "sweep_watching.py").write_text(WATCHER, encoding="utf-8")
    watching = "[[{name: 'sweep_watching:Watches'}], [{name: 'sweep_watching:Watches', depth: 2}]]"
    assert make_plan(sweep(f"grid: {{attacks: {watching}}}\n")).shared() == {}
    followed = f"grid: {{attacks: {ATTACKS}, trackers: [[{{name: 'sweep_watching:Follows'}}]]}}\n"
    assert make_plan(sweep(followed)).shared() == {}


def test_cells_without_attacks_do_not_share_with_those_that_keep_captures(sweep: MakeSweep) -> None:
    plan = make_plan(sweep("grid: {attacks: [[], [{name: gi}]]}\n"))
    assert plan.shared() == {}


WRONG = [
    ("grid: {pruner.rate: [0.1, 1.5]}\n", "pruner.rate must be in [0, 1), got 1.5"),
    ("grid: {pruner.rete: [0.1]}\n", "did you mean 'rate'"),
    ("grid: {attacks: [[{name: sgi}], [{name: sgy}]]}\n", "did you mean 'sgi'"),
    ("grid: {device: [cpu, 'cuda:1']}\n", "a sweep deals the GPUs to its workers"),
    ("grid: {algorithm.clients_per_round: [2, 9]}\n", "must be at most data.clients (6), got 9"),
]


@pytest.mark.parametrize(("rest", "message"), WRONG, ids=[message for _, message in WRONG])
def test_every_cell_is_checked_with_its_plugins(rest: str, message: str, sweep: MakeSweep) -> None:
    with pytest.raises(PriPruneError) as caught:
        make_plan(sweep(rest))
    assert message in str(caught.value) and "(cell " in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_warning_counts_its_cells(sweep: MakeSweep) -> None:
    plan = make_plan(sweep("grid: {aggregation.absent: [zeros], defenses: [[], [{name: mix}], [{name: largest}]]}\n"))
    assert [w for w in plan.warnings if "zeros" in w and w.endswith("(2 cells)")]
