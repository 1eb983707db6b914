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
