import pytest

from priprune_plugins.privacy.controls import judge, judge_ranks


@pytest.mark.parametrize(
    ("psnr", "passed"),
    [
        ([16.0, 16.0, 15.9], True),
        ([16.0, 15.9, 15.9], False),
        ([16.0, 16.0, 9.0, 9.0], True),
        ([90.0, 90.0], False),
        ([], False),
    ],
)
def test_six_db_over_the_best_floor_on_half_of_three_or_more(psnr: list[float], passed: bool) -> None:
    assert judge(psnr, [10.0] * len(psnr))["passed"] is passed


def test_each_image_is_held_against_its_own_floor() -> None:
    got = judge([20.0, 20.0, 20.0], [15.0, 15.0, 2.0])
    assert got["passed"] is False
    assert got["reason"] == "at least 6 dB over the best floor on 1 of 3 images, at least half are needed"
    assert (got["psnr_db"], got["best_floor_db"]) == (20.0, pytest.approx(32 / 3))


def test_too_few_images_are_named_as_the_reason() -> None:
    assert judge([90.0], [1.0])["reason"] == "1 control images, at least 3 are needed"


@pytest.mark.parametrize(("ranks", "passed"), [([1, 1, 300], True), ([1, 2, 2], False), ([1, 1], False)])
def test_identification_passes_with_rank_1(ranks: list[int], passed: bool) -> None:
    assert judge_ranks(ranks)["passed"] is passed
