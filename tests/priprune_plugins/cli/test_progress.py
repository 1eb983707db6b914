import io

from rich.console import Console

from priprune_plugins.cli.progress import ProgressWatcher

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


def test_the_closing_table_shows_figures_beside_floor_and_control() -> None:
    out = io.StringIO()
    watcher = ProgressWatcher(Console(file=io.StringIO()), Console(file=out, width=140))
    watcher.begin("run", 2)
    watcher.round_done({"round": 0, "accuracy": 0.5})
    watcher.round_done({"round": 1, "accuracy": None})
    watcher.attack_begins("sgi", 3)
    watcher.attack_progress(0.5)
    watcher.attack_progress(0.75, 0.125)
    watcher.attack_done("sgi")
    watcher.finish(SUMMARY)
    headline, _, row = out.getvalue().rstrip().splitlines()
    assert headline.startswith("[red]run  accuracy 0.912  density 0.700  withheld -")
    assert row.split() == ["sgi", "3", *["void"] * 5, "FAILED,", "figures", "void"]


def test_figures_stand_where_the_control_passed_and_say_what_was_granted() -> None:
    out = io.StringIO()
    passed = {**FIGURES, "positive_control": {**CONTROL, "passed": True}}
    attacks = {"sgi": passed, "sgi-oracle": {**passed, "granted": ["start"], "top1_share": 0.5}}
    ProgressWatcher(Console(file=io.StringIO()), Console(file=out, width=140)).finish({**SUMMARY, "attacks": attacks})
    _, _, plain, oracle = out.getvalue().rstrip().splitlines()
    assert plain.split() == ["sgi", "3", "21.0", "12.3", "0.432", "-", "-", "passed"]
    assert oracle.split()[6:] == ["0.50", "passed;", "upper", "bound"]
