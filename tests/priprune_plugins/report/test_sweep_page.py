"""The report of a sweep, from a folder written by hand: two pruner rates, two defences, two seeds, two attacks."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.report.sweep_charts import along_axes, tradeoff
from priprune_plugins.report.sweep_files import read_sweep_folder
from priprune_plugins.report.sweep_matrix import matrices
from priprune_plugins.report.sweep_page import write_sweep_report

AXES = {"pruner.rate": ["0.1", "0.3"], "defenses": ["none", "<b>largest</b>"], "seed": ["1", "2"]}
SHORT = {"pruner.rate": "rate", "defenses": "defenses", "seed": "seed"}
FLOOR_DB = 12.0
MakeSweep = Callable[..., Path]


def psnr(rate: str, defense: str, seed: str, attack: str) -> float:
    base = {"sgi": 24.0, "gi": 13.0}[attack] - (10.0 if defense != "none" else 0.0)
    return base + float(seed) - 10 * float(rate)


def rows(point: Mapping[str, Any], control: Callable[[str, str], bool]) -> list[dict[str, Any]]:
    rate, defense, seed = point["labels"].values()
    about = {"cell": point["cell"], "key": point["key"], "folder": f"cells/{point['cell']}-{point['key']}"}
    run = {"accuracy": 0.9 - float(rate), "density": 1 - float(rate), "seconds": 30.0, "bytes_up": 2**20}
    return [
        {
            **about,
            "pruner": "random",
            "pruner.rate": float(rate),
            "defenses": defense,
            "seed": int(seed),
            "attack": attack,
            **run,
            "psnr_db": psnr(rate, defense, seed, attack),
            "nmi": psnr(rate, defense, seed, attack) / 40,
            "ssim": 0.5,
            "best_floor_psnr_db": FLOOR_DB,
            "control_passed": control(attack, seed),
            "control_psnr_db": 25.0,
        }
        for attack in ("sgi", "gi")
    ]


@pytest.fixture
def make_sweep(tmp_path: Path) -> MakeSweep:
    """Write the folder; the last point failed."""

    def make(control: Callable[[str, str], bool] = lambda attack, seed: True, **more: str) -> Path:
        labels = [(r, d, s) for r in AXES["pruner.rate"] for d in AXES["defenses"] for s in AXES["seed"]]
        points = [
            {"cell": f"c{i}", "label": f"rate={r} defenses={d} seed={s}", "key": f"k{i}",
             "labels": dict(zip(AXES, (r, d, s), strict=True))}
            for i, (r, d, s) in enumerate(labels)
        ]  # fmt: skip
        plan = {"name": "digits-<i>sweep</i>", "axes": AXES, "short": SHORT, "points": points}
        (tmp_path / "sweep.json").write_text(json.dumps(plan), encoding="utf-8")
        lines = [row for point in points[:-1] for row in rows(point, control)]
        (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        failure = {"key": "k7", "state": "failed", "error": "its process died: <script>alert(1)</script>"}
        (tmp_path / "ledger.jsonl").write_text(json.dumps(failure) + "\n", encoding="utf-8")
        (tmp_path / "sweep.yaml").write_text("grid: {'</pre><script>': []}\n", encoding="utf-8")
        for name, text in more.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return make


def test_a_square_is_the_mean_over_seeds_with_its_spread_and_margin(make_sweep: MakeSweep) -> None:
    sgi, gi = matrices(read_sweep_folder(make_sweep()))
    assert (sgi.attack, gi.attack, sgi.where) == ("sgi", "gi", "")
    assert sgi.pruners == ["random rate=0.1", "random rate=0.3"] and sgi.defenses == AXES["defenses"]
    square = sgi.squares["random rate=0.1", "none"]
    # Seeds give 24 and 25 dB: mean 24.5, standard deviation 1 / sqrt(2), 12.5 dB over the floor of 12.
    assert square.mean("psnr_db") == pytest.approx(24.5) and square.spread("psnr_db") == pytest.approx(0.5**0.5)
    assert square.margin_db == pytest.approx(12.5) and square.level == 3 and not square.void
    assert gi.squares["random rate=0.1", "none"].level == 0
    # One seed of the last square failed: one value has no spread.
    assert sgi.squares["random rate=0.3", "<b>largest</b>"].spread("psnr_db") is None


def test_void_seeds_are_left_out_of_the_mean_and_a_square_without_any_other_is_void(make_sweep: MakeSweep) -> None:
    files = read_sweep_folder(make_sweep(lambda attack, seed: attack == "sgi" and seed == "1"))
    sgi, gi = matrices(files)
    assert sgi.squares["random rate=0.1", "none"].mean("psnr_db") == pytest.approx(24.0)
    square = gi.squares["random rate=0.1", "none"]
    assert square.void and square.mean("psnr_db") is None and square.accuracy == pytest.approx(0.8)
    text = write_sweep_report(files.folder).read_text()
    assert "1 of 2 void" in text and "failed: VOID" in text and "13.0\u00a0dB" not in text


def test_the_finding_names_the_worst_case_and_the_least_leak_to_its_strongest_attacker(make_sweep: MakeSweep) -> None:
    text = write_sweep_report(make_sweep()).read_text()
    worst = "Worst case: sgi on pruner random rate=0.1, defence none, NMI 0.61, 12.5 dB above the best floor"
    assert worst in text
    # At rate 0.3 only seed 1 is done: 24 - 10 + 1 - 3 = 12 dB, at the floor.
    least = "pruner random rate=0.3, defence &lt;b&gt;largest&lt;/b&gt;, NMI 0.30, 0.0 dB above the best floor (no leak"
    assert least in text


def test_every_text_is_escaped_and_nothing_runs(make_sweep: MakeSweep) -> None:
    text = write_sweep_report(make_sweep()).read_text()
    assert "<script" not in text and "<b>largest" not in text and "<i>sweep" not in text
    assert "&lt;script&gt;alert(1)" in text and "digits-&lt;i&gt;sweep" in text


def test_failed_cells_stand_at_the_head_with_their_error(make_sweep: MakeSweep) -> None:
    text = write_sweep_report(make_sweep()).read_text()
    assert "7 of 8" in text and "1 failed, 0 not run" in text
    assert "rate=0.3 defenses=&lt;b&gt;largest&lt;/b&gt; seed=2</b>: its process died" in text


def test_a_cells_name_leads_to_its_own_report(make_sweep: MakeSweep) -> None:
    assert 'href="cells/c0-k0/report.html"' in write_sweep_report(make_sweep()).read_text()


def test_curves_are_drawn_along_numbers_and_never_along_seeds(make_sweep: MakeSweep) -> None:
    charts = along_axes(read_sweep_folder(make_sweep()))
    assert [chart.title for chart in charts] == [
        "Accuracy along rate", "PSNR of sgi along rate", "PSNR of gi along rate",
    ]  # fmt: skip
    undefended = next(series for series in charts[1].series if series.name == "none")
    assert list(undefended.points) == [(0.1, pytest.approx(24.5)), (0.3, pytest.approx(22.5))]


def test_the_tradeoff_has_a_line_per_defence(make_sweep: MakeSweep) -> None:
    chart = tradeoff(matrices(read_sweep_folder(make_sweep()))[0])
    assert [series.name for series in chart.series] == AXES["defenses"]
    assert list(chart.series[0].points) == [
        (pytest.approx(60.0), pytest.approx(22.5 / 40)),
        (pytest.approx(80.0), pytest.approx(24.5 / 40)),
    ]


def test_a_damaged_line_is_named_and_the_rest_is_drawn(make_sweep: MakeSweep) -> None:
    folder = make_sweep()
    with (folder / "results.jsonl").open("a") as file:
        file.write('{"cell": "c9"\n')
    assert "1 damaged lines of results.jsonl were left out" in write_sweep_report(folder).read_text()


def test_a_sweep_without_a_result_says_so(make_sweep: MakeSweep) -> None:
    text = write_sweep_report(make_sweep(**{"results.jsonl": ""})).read_text()
    assert "nothing is known about privacy" in text and "No cell is done." in text


def test_a_folder_that_is_no_sweeps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="is no sweep's folder"):
        write_sweep_report(tmp_path)
