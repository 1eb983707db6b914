import json
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.cli import main
from priprune_plugins.errors import ScenarioError
from priprune_plugins.privacy.agreement import Attacked, agreement, attacked_uploads, correlation, method_means

FLOORS = {"black": {"psnr_db": 6.0, "nmi": 0.0}}


def line(key: str, psnr_db: float | None, group: str = "audit", **more: Any) -> dict[str, Any]:
    figures = {"nmi": None, "kl": None, "min_entropy": None, "rank": None, "nmi_levels": 16, "failed": None}
    about = {"attack": "sgi", "key": key, "round": 0, "group": group, "floors": FLOORS, "psnr_db": psnr_db}
    return {**figures, **about, **more}


def controls(psnr_db: float = 30.0, **more: Any) -> list[dict[str, Any]]:
    return [line(f"control{index}", psnr_db, "control", **more) for index in range(3)]


def ranked(key: str, rank: int, group: str = "audit", attack: str = "who") -> dict[str, Any]:
    return line(key, None, group, attack=attack, rank=rank, floors={}, nmi_levels=None)


def ranker(attack: str = "who") -> list[dict[str, Any]]:
    return [ranked(f"control{index}", 1, "control", attack) for index in range(3)]


def upload(method: str, **figures: float | None) -> Attacked:
    return Attacked(method, figures)


def test_correlations_by_hand_with_kl_and_rank_turned() -> None:
    entries = [
        upload("a", nmi=0.1, kl=4.0, psnr_db=10.0, rank=50.0),
        upload("a", nmi=0.2, kl=3.0, psnr_db=12.0, rank=1.0),
        upload("b", nmi=0.3, kl=1.0, psnr_db=11.0, rank=9.0),
        upload("b", nmi=0.4, kl=2.0, psnr_db=20.0, rank=None),
    ]
    # Of 6 pairs, 5 agree and 1 does not; rho = 1 - 6 * 2 / 60.
    found = correlation(entries, "nmi", "psnr_db")
    assert (found.kendall, found.spearman, found.pairs) == (pytest.approx(4 / 6), pytest.approx(0.8), 4)
    # Turned: kl (1, 2, 4, 3), psnr (1, 3, 2, 4): 2 of 6 pairs disagree, squared differences 0 + 1 + 4 + 1.
    found = correlation(entries, "kl", "psnr_db")
    assert (found.kendall, found.spearman) == (pytest.approx(2 / 6), pytest.approx(0.4))
    # Turned ranks (1, 3, 2) over the three that have one.
    found = correlation(entries, "nmi", "rank")
    assert (found.kendall, found.spearman, found.pairs) == (pytest.approx(1 / 3), pytest.approx(0.5), 3)


def test_ties_and_too_few_pairs() -> None:
    flat = [upload("a", nmi=value, psnr_db=9.0) for value in (0.1, 0.2, 0.3)]
    assert correlation(flat, "nmi", "psnr_db").kendall is None
    assert correlation(flat[:2], "nmi", "psnr_db").pairs == 2 and correlation(flat[:2], "nmi", "nmi").spearman is None
    tied = [upload("a", nmi=x, psnr_db=y) for x, y in ((0.1, 1.0), (0.1, 2.0), (0.2, 3.0))]
    # Tau-b: 2 pairs agree, 1 is tied in one figure: 2 / sqrt(2 * 3).
    assert correlation(tied, "nmi", "psnr_db").kendall == pytest.approx(2 / 6**0.5)


def test_methods_are_means_and_the_bound_names_its_nearest_figure() -> None:
    entries = [
        upload("a", nmi=0.1, kl=1.0, psnr_db=8.0, rank=3.0, bound=10.0),
        upload("a", nmi=0.3, kl=1.0, psnr_db=10.0, rank=5.0, bound=10.0),
        upload("b", nmi=0.4, kl=3.0, psnr_db=30.0, rank=1.0, bound=20.0),
        upload("c", nmi=0.3, kl=2.0, psnr_db=40.0, rank=1.0, bound=30.0),
    ]
    means = {entry.method: entry.figures for entry in method_means(entries)}
    assert (means["a"]["nmi"], means["a"]["rank"]) == (pytest.approx(0.2), 4.0)
    found = agreement(entries)
    assert found.order["a"] == {"nmi": 3.0, "kl": 1.0, "psnr_db": 3.0, "rank": 3.0, "bound": 3.0}
    assert (found.order["b"]["rank"], found.order["c"]["rank"]) == (1.5, 1.5)
    # The bound orders a < b < c; so does PSNR. NMI has c < b, the median rank ties b and c, KL has a first.
    assert found.nearest_to_bound == ("psnr_db",)


def test_ranks_come_from_the_identifying_attack_on_the_same_upload() -> None:
    lines = [line("k1", 20.0, nmi=0.5), line("k2", 10.0), *controls(), ranked("k2", 7), *ranker()]
    uploads = attacked_uploads("run", lines, {0: 600.0})
    assert [(u.method, u.figures["psnr_db"], u.figures["rank"]) for u in uploads] == [
        ("run/sgi", 20.0, None),
        ("run/sgi", 10.0, 7),
    ]
    assert all(u.figures["bound"] == 600.0 for u in uploads)


def test_void_rounds_count_only_when_asked_for() -> None:
    lines = [line("k1", 20.0), *controls(5.0), line("k2", 20.0, round=1), *controls(round=1)]
    assert len(attacked_uploads("run", lines, {})) == 1
    assert len(attacked_uploads("run", lines, {}, with_void=True)) == 2
    assert attacked_uploads("run", lines, {}, attacks=["gi"], with_void=True) == []


def test_several_identifying_attacks_must_be_chosen_from() -> None:
    lines = [line("k1", 20.0), *controls(), ranked("k1", 7), *ranker(), ranked("k1", 2, attack="mask"), *ranker("mask")]
    with pytest.raises(ScenarioError, match="several attacks rank candidates: mask, who; choose one with --identify"):
        attacked_uploads("run", lines, {})
    assert attacked_uploads("run", lines, {}, identify="mask")[0].figures["rank"] == 2


def test_a_damaged_bound_json_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write(tmp_path / "run", [line("k", 10.0), *controls()])
    (run / "bound.json").write_text("[]")
    assert main(["agreement", str(run)]) == 2
    assert "bound.json is damaged: priprune bound" in capsys.readouterr().err


def write(folder: Path, lines: list[dict[str, Any]], bound: float | None = None) -> Path:
    folder.mkdir()
    (folder / "privacy.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    if bound is not None:
        (folder / "bound.json").write_text(json.dumps({"points": [{"round": 0, "printed": {"total": bound}}]}))
    return folder


def test_the_command_reads_run_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        write(tmp_path / name, [line("k", 10.0 * n, nmi=0.1 * n, kl=-n, min_entropy=0.3), *controls()], 600.0 + n)
        for n, name in enumerate(("base", "random", "largest"), start=1)
    ]
    assert main(["agreement", *map(str, runs), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["uploads"] == 3 and found["order"]["largest/sgi"]["psnr_db"] == 1.0
    nmi = next(c for c in found["by_method"] if (c["first"], c["second"]) == ("nmi", "psnr_db"))
    assert nmi == {"first": "nmi", "second": "psnr_db", "spearman": 1.0, "kendall": 1.0, "pairs": 3}
    assert found["nearest_to_bound"] == ["nmi", "kl", "psnr_db"]
    assert main(["agreement", *map(str, runs)]) == 0
    assert "the printed bound orders the methods most like: nmi, kl, psnr_db" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "has no line in privacy.jsonl"),
        ([line("k", 10.0)], "no reconstructed upload counts"),
        ([line("k", 9.0), *controls(nmi_levels=256)], "NMI at different grey levels cannot be compared: 16 in"),
    ],
)
def test_what_cannot_be_correlated_is_one_line(
    lines: list[dict[str, Any]], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["agreement", str(write(tmp_path / "run", lines))]) == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert message in printed
