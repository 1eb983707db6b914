from typing import Any

import pytest

from priprune_plugins.report.verdict import finding, is_void, rows


def figures(nmi: float, psnr: float = 20.0, passed: bool = True, **rounds: bool) -> dict[str, Any]:
    floors = {"black": {"psnr_db": 9.0, "nmi": 0.0}, "same_class": {"psnr_db": 12.0, "nmi": 0.2}}
    return {
        "nmi": nmi,
        "nmi_levels": 16,
        "psnr_db": psnr,
        "floors": floors,
        "positive_control": {"passed": passed},
        "by_round": {name[1:]: {"control_passed": ok} for name, ok in rounds.items()},
    }


def test_the_worst_case_is_first_and_void_is_last() -> None:
    table = rows({"a": figures(0.2), "b": figures(0.9, passed=False), "c": figures(0.4)}, [])
    assert [(row.attack, row.void) for row in table] == [("c", False), ("a", False), ("b", True)]
    assert (table[0].best_floor, table[0].margin_db) == ("same_class", 8.0)


def test_what_was_granted_truth_comes_after_what_a_server_could_run_and_is_no_headline() -> None:
    oracle = {**figures(0.9, psnr=30.0), "granted": ["start"]}
    table = rows({"sgi-oracle": oracle, "sgi": figures(0.2)}, [])
    assert [row.attack for row in table] == ["sgi", "sgi-oracle"]
    assert (table[0].granted, table[1].granted) == ("", "upper bound: knows the weights that training started from")
    said = finding(table)
    assert said.startswith("Worst case: sgi reconstructs at NMI 0.20")
    assert said.endswith(
        "sgi-oracle, which no server can run, reaches 30.0\u00a0dB (upper bound: knows the weights that "
        "training started from)."
    )
    alone = finding(rows({"sgi-oracle": oracle}, []))
    assert alone.startswith(
        "No attack that a server could run passed its positive control. sgi-oracle, which no server"
    )


def test_a_name_stands_beside_a_picture() -> None:
    named = {"positive_control": {"passed": True}, "top1_share": 1.0, "median_rank": 1.0, "candidates": 300}
    below = finding(rows({"who": named, "sgi": figures(0.1, psnr=9.0)}, []))
    assert below.startswith("Worst case: who puts") and ". sgi reconstructs at NMI 0.10" in below
    said = finding(rows({"who": named, "sgi": figures(0.4)}, []))
    assert said.startswith("Worst case: sgi") and said.endswith(
        "who puts the true image first in 100.0\u00a0% of its victims, out of 300 candidates."
    )


def test_a_round_whose_control_passed_stands_beside_a_void_attack() -> None:
    line = {"attack": "a", "round": 0, "group": "audit", "client": 1, "psnr_db": 30.0, "nmi": 0.7, "failed": None}
    table = rows({"a": figures(0.4, passed=False, r0=True, r9=False)}, [line, {**line, "round": 9, "psnr_db": 8.0}])
    assert [(row.attack + row.where, row.void) for row in table] == [("a, round 0", False), ("a", True)]
    assert table[0].figures["psnr_db"] == 30.0


@pytest.mark.parametrize(("round_idx", "void"), [(None, True), (0, False), (9, True), (5, True)])
def test_a_round_stands_or_falls_with_its_own_control(round_idx: int | None, void: bool) -> None:
    assert is_void(figures(0.4, passed=False, r0=True, r9=False), round_idx) is void


@pytest.mark.parametrize(
    ("attacks", "said"),
    [
        ({}, "No attack was measured"),
        ({"a": figures(0.9, passed=False)}, "No attack passed its positive control"),
        ({"a": {"positive_control": {"passed": True}, "top1_share": 0.5}}, "first in 50.0\u00a0% of its victims"),
        ({"a": figures(0.4)}, "8.0 dB above the best floor, same class. The uploads leak"),
        ({"a": figures(0.1, psnr=13.0)}, "1.0 dB above the best floor, same class. This attacker shows no leak"),
        ({"a": figures(0.1, psnr=9.0)}, "3.0 dB below the best floor, same class. This attacker shows no leak"),
    ],
)
def test_the_finding_says_no_more_than_the_figures_do(attacks: dict[str, Any], said: str) -> None:
    assert said in finding(rows(attacks, []))
