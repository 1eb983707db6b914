from typing import Any

import pytest

from priprune_plugins.privacy.summary import summarise


def line(round_idx: int, psnr: float | None, group: str = "audit", **more: Any) -> dict[str, Any]:
    floors = {"black": {"psnr_db": 8.0, "nmi": 0.0}, "noise": {"psnr_db": 6.0, "nmi": 0.1}}
    return {
        "attack": "sgi",
        "round": round_idx,
        "client": 3,
        "group": group,
        "nmi": 0.4,
        "nmi_levels": 16,
        "psnr_db": psnr,
        "failed": None,
        "floors": floors,
        **more,
    }


def controls(round_idx: int, *psnr: float) -> list[dict[str, Any]]:
    return [line(round_idx, value, "control") for value in psnr]


def test_figures_average_the_victims_and_leave_the_control_out() -> None:
    lines = [line(0, 10.0), line(5, 20.0, "training"), *controls(0, 30, 30, 30)]
    got = summarise(lines)["sgi"]
    assert (got["victims"], got["failed"], got["psnr_db"], got["nmi_levels"]) == (2, 0, 15.0, 16)
    assert got["floors"]["black"] == {"psnr_db": 8.0, "nmi": 0.0}
    assert got["positive_control"] == {"psnr_db": 30.0, "best_floor_db": 8.0, "passed": True, "reason": None}
    assert got["by_round"] == {
        "0": {"psnr_db": 10.0, "nmi": pytest.approx(0.4), "control_passed": True},
        "5": {"psnr_db": 20.0, "nmi": pytest.approx(0.4), "control_passed": None},
    }


def test_a_failed_victim_is_counted_and_averaged() -> None:
    got = summarise([line(0, 20.0), line(0, 8.0, nmi=0.0, failed="diverged", attack_loss=None)])["sgi"]
    assert (got["victims"], got["failed"], got["psnr_db"], got["nmi"]) == (2, 1, 14.0, 0.2)
    assert got["attack_loss"] is None


def test_a_control_that_fails_in_one_round_fails() -> None:
    got = summarise([line(0, 20.0), *controls(0, 30, 30, 30), *controls(39, 9, 9, 30)])["sgi"]
    assert got["positive_control"]["passed"] is False
    assert got["positive_control"]["reason"].startswith("round 39: at least 6 dB over the best floor on 1 of 3")


def test_an_attack_without_control_is_not_passed() -> None:
    got = summarise([line(0, 20.0)])["sgi"]["positive_control"]
    assert (got["passed"], got["reason"]) == (False, "0 control images, at least 3 are needed")


def test_identification_is_judged_and_summed_by_rank() -> None:
    lines = [line(0, None, rank=rank, nmi=None, floors=None) for rank in (1, 4, 7)]
    lines += [line(0, None, "control", rank=1, nmi=None, floors=None) for _ in range(3)]
    got = summarise(lines)["sgi"]
    assert (got["median_rank"], got["top1_share"]) == (4, pytest.approx(1 / 3))
    assert got["positive_control"]["passed"] is True
    assert got["psnr_db"] is None


def test_attacks_keep_their_order() -> None:
    assert list(summarise([line(0, 1.0), line(0, 1.0, attack="gi")])) == ["sgi", "gi"]
