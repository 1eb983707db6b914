import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from priprune_plugins.cli.progress import ProgressWatcher
from priprune_plugins.privacy.summary import summarise
from priprune_plugins.report import write_report

CONTROL = {"psnr_db": 9.0, "best_floor_db": 10.0, "passed": False}
FLOORS = {
    "noise": {"psnr_db": 7.0, "nmi": 0.1},
    "mean": {"psnr_db": 12.3, "nmi": 0.1},
    "other": {"psnr_db": None, "nmi": None},
}
FIGURES = {"victims": 3, "psnr_db": 21.04, "nmi": 0.4321, "ssim": None, "floors": FLOORS, "positive_control": CONTROL}
SUMMARY = {
    "name": "[red]run",
    "accuracy": 0.91234,
    "density": 0.7,
    "withheld_rate": None,
    "gradient_mass_withheld": 0.25,
    "seconds": 12.34,
    "attacks": {"sgi": FIGURES},
}


def shown(out: io.StringIO) -> ProgressWatcher:
    return ProgressWatcher(Console(file=io.StringIO()), Console(file=out, width=140))


def test_the_closing_table_shows_figures_beside_floor_and_control(tmp_path: Path) -> None:
    out = io.StringIO()
    watcher = shown(out)
    watcher.begin("run", 2)
    watcher.round_done({"round": 0, "accuracy": 0.5})
    watcher.round_done({"round": 1, "accuracy": None})
    watcher.attack_begins("sgi", 3)
    watcher.attack_progress(0.5)
    watcher.attack_progress(0.75, 0.125)
    watcher.attack_done("sgi")
    watcher.finish(tmp_path, SUMMARY)
    headline, _, row, found = out.getvalue().rstrip().splitlines()
    assert headline.startswith("[red]run  accuracy 0.912  density 0.700  withheld -")
    assert row.split() == ["sgi", "3", *["void"] * 5, "FAILED,", "figures", "void"]
    assert found.startswith("No attack passed its positive control")


def test_figures_stand_where_the_control_passed_and_say_what_was_granted(tmp_path: Path) -> None:
    out = io.StringIO()
    passed = {**FIGURES, "positive_control": {**CONTROL, "passed": True}}
    attacks = {"sgi": passed, "sgi-oracle": {**passed, "granted": ["start"], "top1_share": 0.5}}
    shown(out).finish(tmp_path, {**SUMMARY, "attacks": attacks})
    _, _, plain, oracle, _ = out.getvalue().rstrip().splitlines()
    assert plain.split() == ["sgi", "3", "21.0", "12.3", "0.432", "-", "-", "passed"]
    assert oracle.split()[6:] == ["0.50", "passed;", "upper", "bound"]


def line(round_idx: int, group: str, psnr_db: float, nmi: float) -> dict[str, object]:
    figures = {"psnr_db": psnr_db, "nmi": nmi, "nmi_levels": 16, "ssim": 0.5, "failed": None}
    floors = {"mean": FLOORS["mean"]}
    return {"attack": "sgi", "round": round_idx, "group": group, "floors": floors, **figures}


@pytest.mark.parametrize("last_control_db", [30.0, 9.0], ids=["all passed", "last failed"])
def test_the_worst_round_stands_in_table_and_report_alike(tmp_path: Path, last_control_db: float) -> None:
    lines = [line(0, "audit", 26.04, 0.8), line(9, "audit", 14.0, 0.2)]
    lines += 3 * [line(0, "control", 30.0, 0.9)] + 3 * [line(9, "control", last_control_db, 0.9)]
    (tmp_path / "privacy.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    summary = {**SUMMARY, "attacks": summarise(lines)}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    out = io.StringIO()
    shown(out).finish(tmp_path, summary)
    _, _, worst, mean, found = out.getvalue().rstrip().splitlines()
    assert worst.split()[:6] == ["sgi,", "round", "0", "1", "26.0", "12.3"] and worst.split()[-1] == "passed"
    assert mean.split()[2] == ("void" if last_control_db < 20 else "20.0")
    assert found.startswith("Worst case: sgi, round 0 reconstructs at NMI 0.80 (16 grey levels), 26.0")
    assert found in write_report(tmp_path).read_text()
