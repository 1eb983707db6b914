import pytest

from priprune_plugins.bounds.document import RANKS_NOTHING, Point, document
from priprune_plugins.bounds.theorem import GradientLaw, PruneFLCounts


def warnings_of(point: Point) -> str:
    return "\n".join(document([point], {})["warnings"])


def test_a_point_has_every_figure_and_its_terms() -> None:
    counts = PruneFLCounts(never_pruned=10, remaining=70, parameters=100)
    content = document([Point(0.2, 4, GradientLaw(2, 3.0), rounds=5, counts=counts, samples=8)], {"from": "a test"})
    (row,) = content["points"]
    assert (content["unit"], content["log_base"], content["about"]) == ("bits", 2, {"from": "a test"})
    assert row["printed"]["total"] == pytest.approx(sum(row["printed"]["terms"].values()))
    assert row["corrected"]["total"] == pytest.approx(row["printed"]["total"] + sum(row["mended"].values()))
    assert row["corollary_1"] == {"rounds": 5, "total": pytest.approx(5 * row["printed"]["total"])}
    assert row["equation_23"]["line_1"] == pytest.approx(row["printed"]["total"])
    assert row["equation_23"]["line_2_follows"] is False
    assert row["batch_choice"] == pytest.approx(6.129283)  # log2 of 70 batches


def test_it_always_says_that_it_ranks_nothing_and_how_little_the_rate_moves() -> None:
    text = warnings_of(Point(0.3, 1, GradientLaw(2, 3.0)))
    assert RANKS_NOTHING in text and "by 0.58 bit" in text
    assert "negative" not in text and "n - 1" not in text and "Assumption 1" not in text


def test_what_a_run_shows_to_be_wrong_is_said() -> None:
    text = warnings_of(Point(0.3, 20, GradientLaw(9, 30.0), samples=10, mean_share=0.25))
    assert "corrected is negative" in text and "printed is negative" not in text
    assert "d* is as large as the number of images allows" in text
    assert "Assumption 1 (mean 0) fails: the mean has up to 25.0%" in text


def test_a_negative_printed_bound_is_said_to_be_none() -> None:
    # 2 log2(1/16) + 2 * (-8) + 2 * 4.09 + 1.5
    text = warnings_of(Point(0.3, 16, GradientLaw(2, -8.0)))
    assert "printed is negative, which no mutual information is" in text
