from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.sweep import Sweep, read_sweep
from priprune_plugins.sweep.points import points, scenario_at

MakeSweep = Callable[..., Sweep]
Write = Callable[..., Path]
LINES = 11  # of the base in conftest


def names(sweep: Sweep) -> list[str]:
    return [point.name for point in points(sweep)]


def test_a_grid_gives_every_combination_the_last_axis_fastest(sweep: MakeSweep) -> None:
    found = sweep("grid: {pruner.rate: [0.1, 0.3], seed: [1, 2]}\n")
    assert names(found) == ["rate-0.1_seed-1", "rate-0.1_seed-2", "rate-0.3_seed-1", "rate-0.3_seed-2"]
    scenario = scenario_at(found, points(found)[1])
    assert (scenario.name, scenario.seed, scenario.pruner and scenario.pruner.options) == (
        "rate-0.1_seed-2",
        2,
        {"rate": 0.1},
    )


def test_zipped_axes_move_together(sweep: MakeSweep) -> None:
    found = sweep(
        "grid: {seed: [1, 2]}\nzip:\n  - {rounds: [2, 3], algorithm.lr: [0.1, 0.2]}\n  - {data.alpha: [1.0, 2.0]}\n"
    )
    assert names(found)[:4] == [
        "seed-1_rounds-2_lr-0.1_alpha-1.0",
        "seed-1_rounds-2_lr-0.1_alpha-2.0",
        "seed-1_rounds-3_lr-0.2_alpha-1.0",
        "seed-1_rounds-3_lr-0.2_alpha-2.0",
    ]
    assert len(names(found)) == 8


def test_a_zip_may_be_one_mapping(sweep: MakeSweep) -> None:
    assert len(names(sweep("zip: {rounds: [2, 3], seed: [1, 2]}\n"))) == 2


def test_excluded_combinations_are_left_out_by_value_label_or_list(sweep: MakeSweep) -> None:
    grid = (
        "grid:\n  pruner.rate: [0.1, 0.2, 0.3]\n  defenses: [[], [{name: largest}], [{name: mix}]]\n"
        "exclude:\n  - {pruner.rate: 0.1, defenses: []}\n  - {pruner.rate: [0.2, 0.3], defenses: [largest, mix]}\n"
        "  - {defenses: [{name: mix}]}\n"
    )
    assert names(sweep(grid)) == ["rate-0.1_defenses-largest", "rate-0.2_defenses-none", "rate-0.3_defenses-none"]


def test_a_plugin_is_set_before_its_options_whichever_is_written_first(sweep: MakeSweep) -> None:
    found = sweep("grid: {pruner.rate: [0.1, 0.5], pruner: [{name: random}, {name: magnitude}]}\n")
    chosen = [scenario_at(found, point).pruner for point in points(found)]
    assert [(p.name, p.options) for p in chosen if p] == [
        ("random", {"rate": 0.1}),
        ("magnitude", {"rate": 0.1}),
        ("random", {"rate": 0.5}),
        ("magnitude", {"rate": 0.5}),
    ]


def test_a_base_file_is_found_from_the_sweeps_folder_and_overridden_by_set(write: Write, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    base = Path(__file__).parents[3] / "configs/quickstart.yaml"
    (tmp_path / "inner/base.yaml").write_text(base.read_text(), encoding="utf-8")
    found = read_sweep(write("grid: {seed: [1]}\n", "base: inner/base.yaml\n"), ["rounds=41"])
    assert scenario_at(found, points(found)[0]).rounds == 41


def test_an_inline_base_may_include_and_a_sweep_may_too(write: Write, tmp_path: Path) -> None:
    base = Path(__file__).parents[3] / "configs/quickstart.yaml"
    first = write("grid: {seed: [1, 2], pruner.rate: [0.1]}\n", f"base: {{include: {base}, rounds: 41}}\n")
    other = tmp_path / "other.yaml"
    other.write_text(f"include: {first.name}\nname: other\ngrid: {{seed: [5]}}\n", encoding="utf-8")
    found = read_sweep(other)
    assert (found.name, names(found)) == ("other", ["seed-5_rate-0.1"])
    assert scenario_at(found, points(found)[0]).rounds == 41


WRONG = [
    ("", "a sweep needs axes"),
    ("grid: {}\n", "a sweep needs axes"),
    ("grod: {seed: [1]}\n", f"{LINES + 1}: grod is unknown; did you mean 'grid'"),
    ("rounds: 3\ngrid: {seed: [1]}\n", f"{LINES + 1}: rounds belongs into base"),
    ("grid:\n  seed: 1\n", f"{LINES + 2}: seed must be a list of values"),
    ("grid: {seed: [1], name: [a]}\n", "name cannot be an axis"),
    ("grid: {seed: [1]}\nzip: {seed: [1], rounds: [2]}\n", "seed is an axis already"),
    ("zip:\n  seed: [1, 2]\n  rounds: [2]\n", "rounds has 1, seed has 2"),
    ("grid: {seed: [1]}\nexclude: {seed: 1}\n", "exclude must be a list"),
    ("grid: {seed: [1]}\nexclude: [{}]\n", "an entry without an axis"),
    ("grid: {seed: [1]}\nexclude: [{sead: 1}]\n", "did you mean 'seed'"),
    ("grid: {seed: [1, 2]}\nexclude: [{seed: 3}]\n", "seed has no value 3; it has 1, 2"),
    ("grid: {seed: [1]}\nexclude: [{seed: 1}]\n", "exclude leaves out all 1 combinations"),
    ("grid: {seed: [1]}\nthreads: 0\n", "threads must be at least 1, got 0"),
    ("grid: {seed: [1]}\nname: a/b\n", "name must be a plain name"),
    ("grid: {'seed..x': [1]}\n", "write a path like pruner.rate"),
    ("grid: {seed.x: [1]}\n", "seed is no mapping, got 3"),
    ("grid: {seed: [1]}\nbase2: x\n", "base2 is unknown; did you mean 'base'"),
]


@pytest.mark.parametrize(("rest", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_sweep_is_refused_in_one_line_with_its_place(rest: str, message: str, sweep: MakeSweep) -> None:
    with pytest.raises(ScenarioError) as caught:
        found = sweep(rest)
        for point in points(found):
            scenario_at(found, point)
    text = str(caught.value)
    assert message in text and "small.yaml:" in text and "\n" not in text


def test_a_missing_base_is_named(write: Write) -> None:
    with pytest.raises(ScenarioError, match=r"small\.yaml:1: base: there is no file"):
        read_sweep(write("grid: {seed: [1]}\n", "base: nowhere.yaml\n"))
    with pytest.raises(ScenarioError, match="base is missing"):
        read_sweep(write("grid: {seed: [1]}\n", ""))


def test_a_wrong_value_is_named_by_its_own_line_and_its_cell(sweep: MakeSweep) -> None:
    found = sweep("grid:\n  algorithm.lr: [0.1, 0.2]\n  rounds:\n    - 2\n    - 0\n")
    with pytest.raises(ScenarioError) as caught:
        for point in points(found):
            scenario_at(found, point)
    assert f"small.yaml:{LINES + 5}: rounds must be at least 1, got 0 (cell lr=0.1 rounds=0)" in str(caught.value)


def test_two_points_never_have_one_name(sweep: MakeSweep) -> None:
    found = sweep("grid: {model.name: {a b: small14, a-b: mini}}\n")
    assert names(found) == ["name-a-b", "name-a-b-2"]


def test_too_many_combinations_are_refused_before_any_is_built(sweep: MakeSweep) -> None:
    values = ", ".join(map(str, range(1, 102)))
    with pytest.raises(ScenarioError, match="10,201 combinations, at most 10,000"):
        points(sweep(f"grid: {{seed: [{values}], rounds: [{values}]}}\n"))
