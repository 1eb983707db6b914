"""Figures of a sweep from results written by hand: two rates, two defences, two seeds, one attack."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from priprune_plugins.report.chart import Chart, Series, draw
from priprune_plugins.report.figure_charts import figure_charts
from priprune_plugins.report.figure_pictures import figure_sheet
from priprune_plugins.report.figure_rows import void
from priprune_plugins.report.reduction import Reduced, reduced
from priprune_plugins.report.sweep_files import SweepFiles
from priprune_plugins.sweep.figures import Figure

RATES, DEFENSES, SEEDS = (0.1, 0.5), ("none", "largest"), (1, 2)
CELLS = [(rate, defense, seed) for rate in RATES for defense in DEFENSES for seed in SEEDS]


def row(index: int, **more: Any) -> dict[str, Any]:
    rate, defense, seed = CELLS[index]
    return {
        "cell": f"c{index}",
        "key": f"k{index}",
        "folder": f"cells/c{index}-k{index}",
        "pruner": "random",
        "pruner.rate": rate,
        "defenses": defense,
        "seed": seed,
        "attack": "sgi",
        "accuracy": 0.9 - rate + 0.02 * seed,
        "bytes_up": 2**20 * seed,
        "nmi": rate + 0.1 * seed,
        "nmi_levels": 16,
        "psnr_db": 20.0 + seed,
        "best_floor_nmi": 0.2,
        "best_floor_psnr_db": 12.0,
        "control_passed": True,
        **more,
    }


@pytest.fixture
def files(tmp_path: Path) -> SweepFiles:
    labels = {f"c{i}": {"pruner.rate": str(r), "defenses": d, "seed": str(s)} for i, (r, d, s) in enumerate(CELLS)}
    return SweepFiles(
        folder=tmp_path,
        name="small",
        axes={"pruner.rate": ["0.1", "0.5"], "defenses": ["none", "largest"], "seed": ["1", "2"]},
        short={"pruner.rate": "rate", "defenses": "defenses", "seed": "seed"},
        points=[],
        labels=labels,
        rows=[row(index) for index in range(len(CELLS))],
        failed={},
        figures=[],
        text="",
        environment={},
        notes=[],
    )


def named(chart: Chart) -> dict[str, Series]:
    return {series.name: series for series in chart.series}


def test_the_mean_stands_between_its_deviations_and_the_median_between_its_extremes() -> None:
    # The sample standard deviation of 1 and 3 is sqrt(2).
    mean = reduced([1.0, 3.0], "mean")
    assert (mean.value, mean.low, mean.high) == pytest.approx((2.0, 2 - 2**0.5, 2 + 2**0.5))
    assert reduced([1.0, 5.0, 2.0], "median") == Reduced(2.0, 1.0, 5.0)
    assert reduced([4.0], "mean") == Reduced(4.0, 4.0, 4.0)


def test_a_line_leads_through_the_means_over_seeds_above_its_floor(files: SweepFiles) -> None:
    (chart,) = figure_charts(files, Figure("NMI", "nmi", "pruner.rate", series="defenses"))
    lines = named(chart)
    assert list(lines) == ["best floor", "none", "largest"]
    # Seeds give rate + 0.1 and rate + 0.2: mean rate + 0.15, deviation 0.1 / sqrt(2).
    assert lines["none"].points == [pytest.approx((0.1, 0.25)), pytest.approx((0.5, 0.65))]
    half = 0.1 / 2**0.5
    assert lines["none"].y_ranges[0] == pytest.approx((0.25 - half, 0.25 + half))
    assert lines["best floor"].kind == "floor" and lines["best floor"].points == [(0.1, 0.2), (0.5, 0.2)]
    assert "16 grey levels" in chart.y_label and not chart.x_names
    assert 'class="error' in draw(chart) and 'class="floor' in draw(chart)


def test_void_results_are_left_out_of_privacy_and_not_of_accuracy(files: SweepFiles) -> None:
    files.rows[0] = row(0, control_passed=False, nmi=0.9)
    figure = Figure("NMI", "nmi", "pruner.rate", series="defenses")
    (chart,) = figure_charts(files, figure)
    assert named(chart)["none"].points[0] == pytest.approx((0.1, 0.3)) and void(files, figure) == 1
    (accuracy,) = figure_charts(files, Figure("a", "accuracy", "pruner.rate", series="defenses"))
    assert named(accuracy)["none"].points[0] == pytest.approx((0.1, 0.83)) and list(named(accuracy)) == [
        "none",
        "largest",
    ]


def test_a_run_counts_once_however_many_attacks_it_has(files: SweepFiles) -> None:
    files.rows.append(row(0, attack="gi"))
    (chart,) = figure_charts(files, Figure("a", "accuracy", "pruner.rate", series="defenses"))
    # Accuracies 0.82 and 0.84; three lines would give a mean of 0.8267.
    assert named(chart)["none"].points[0] == pytest.approx((0.1, 0.83))


def test_bars_stand_at_the_names_of_their_places_in_the_order_of_the_file(files: SweepFiles) -> None:
    files.rows.reverse()
    (chart,) = figure_charts(files, Figure("b", "bytes_up", "defenses", "bar", series="pruner.rate"))
    assert chart.x_names == ["none", "largest"] and chart.y_label == "uploaded, MiB"
    assert named(chart)["rate=0.1"].points == [(0.0, 1.5), (1.0, 1.5)]
    assert draw(chart).count("<rect") == 4


def test_a_scatter_has_a_marker_per_combination_with_errors_both_ways(files: SweepFiles) -> None:
    (chart,) = figure_charts(files, Figure("s", "nmi", "accuracy", "scatter", series="defenses"))
    none = named(chart)["none"]
    assert none.kind == "points" and none.points == [pytest.approx((0.43, 0.65)), pytest.approx((0.83, 0.25))]
    assert none.x_ranges[0] == pytest.approx((0.43 - 0.02 / 2**0.5, 0.43 + 0.02 / 2**0.5))
    assert draw(chart).count('class="point') == 4 + 2


def test_panels_and_conditions_choose_what_is_drawn(files: SweepFiles) -> None:
    figure = Figure("p", "nmi", "pruner.rate", panels="defenses", where={"seed": (2,)})
    charts = figure_charts(files, figure)
    assert [chart.title for chart in charts] == ["p: none", "p: largest"]
    assert named(charts[0])["nmi"].points == [pytest.approx((0.1, 0.3)), pytest.approx((0.5, 0.7))]


def test_a_series_has_one_colour_in_all_panels(files: SweepFiles) -> None:
    for index, (rate, defense, _) in enumerate(CELLS):
        files.rows[index]["control_passed"] = (rate, defense) != (RATES[0], DEFENSES[0])
    first, second = figure_charts(files, Figure("p", "nmi", "seed", series="defenses", panels="pruner.rate"))
    assert DEFENSES[0] not in named(first)
    assert named(first)[DEFENSES[1]].colour == named(second)[DEFENSES[1]].colour != named(second)[DEFENSES[0]].colour


def test_a_figure_that_no_result_has_draws_nothing(files: SweepFiles) -> None:
    assert figure_charts(files, Figure("r", "median_rank", "pruner.rate", series="defenses")) == []


def write_cell(files: SweepFiles, index: int, passed: bool) -> Path:
    cell = files.folder / f"cells/c{index}-k{index}"
    cell.mkdir(parents=True)
    rounds = [{"round": number, "accuracy": 0.5 + 0.1 * index if number else None} for number in range(3)]
    (cell / "rounds.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in rounds))
    floors = {"black": {"psnr_db": 9.0, "nmi": 0.0}, "mean_image": {"psnr_db": 12.0, "nmi": 0.15}}
    about = {"attack": "sgi", "floors": floors, "nmi_levels": 16, "failed": None}
    controls = [
        {
            **about,
            "round": number,
            "group": "control",
            "psnr_db": 30.0 if passed or number == 0 else 5.0,
            "key": f"x{i}",
        }
        for number in (0, 2)
        for i in range(3)
    ]
    victims = [
        {
            **about,
            "round": number,
            "group": "audit",
            "key": f"r{number}_c0",
            "client": 0,
            "nmi": 0.4 + 0.1 * index,
            "psnr_db": 20.0,
        }
        for number in (0, 2)
    ]
    (cell / "privacy.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in [*controls, *victims]))
    return cell


def test_curves_over_rounds_are_read_from_the_cells_and_void_rounds_left_out(files: SweepFiles) -> None:
    write_cell(files, 0, passed=True)
    write_cell(files, 1, passed=False)
    files.rows[2:] = []
    (accuracy,) = figure_charts(files, Figure("a", "accuracy", "round", series="defenses", over="rounds"))
    assert named(accuracy)["none"].points == [pytest.approx((1.0, 0.55)), pytest.approx((2.0, 0.55))]
    (nmi,) = figure_charts(files, Figure("n", "nmi", "round", series="defenses", over="rounds"))
    # Round 2 of the second seed is void, its round 0 is not.
    assert named(nmi)["none"].points == [pytest.approx((0.0, 0.45)), pytest.approx((2.0, 0.4))]
    assert named(nmi)["best floor"].points == [(0.0, 0.15), (2.0, 0.15)]


def test_pictures_show_the_first_victim_of_the_last_valid_round(files: SweepFiles) -> None:
    cell = write_cell(files, 0, passed=False)
    for name, value in (("r0_c0", 0.25), ("r2_c0", 0.75)):
        for folder, images in (
            ("audit", torch.zeros(1, 1, 8, 8)),
            ("reconstructions/sgi", torch.full((1, 1, 8, 8), value)),
        ):
            (cell / folder).mkdir(parents=True, exist_ok=True)
            save_file(
                {"images": images, "labels": torch.zeros(1, dtype=torch.int64)}, cell / folder / f"{name}.safetensors"
            )
    sheet = figure_sheet(files, Figure("r", "nmi", "pruner.rate", "reconstructions", series="defenses"))
    ((series, (picture,)),) = sheet.rows.items()
    assert (series, picture.place, picture.caption) == ("none", "0.1", "NMI 0.40")
    assert torch.equal(picture.guess, torch.full((1, 8, 8), 0.25)) and picture.victim == "round 0, client 0"
