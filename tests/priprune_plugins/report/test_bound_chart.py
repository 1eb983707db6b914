import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.bounds.document import Point, document
from priprune_plugins.bounds.theorem import GradientLaw, PruneFLCounts
from priprune_plugins.report import write_report
from priprune_plugins.report.bound_chart import bound_charts

MakeRun = Callable[..., Path]


def content(*rounds: int) -> dict[str, Any]:
    counts = PruneFLCounts(10, 70, 100)
    points = [Point(0.2, 4, GradientLaw(2, float(index)), 5, counts, index, 8) for index in rounds]
    return {**document(points, {"images": "test", "samples": 8}), "theorem_4_2": None}


def test_the_curve_over_the_rate_falls_by_the_p_term_and_ends_where_the_point_is() -> None:
    (chart,) = bound_charts(content(3)["points"])
    printed, corrected = chart.series
    at = dict(printed.points)
    assert at[0.1] - at[0.9] == pytest.approx(0.5771, abs=1e-4)
    assert at[0.2] == pytest.approx(content(3)["points"][0]["printed"]["total"])
    assert dict(corrected.points)[0.2] == pytest.approx(content(3)["points"][0]["corrected"]["total"])
    assert chart.x_label == "pruning rate p"


def test_several_captured_rounds_have_a_curve_of_their_own() -> None:
    over_rounds, _ = bound_charts(content(0, 4)["points"])
    printed, _ = over_rounds.series
    # Two Delta are 8 bits more at round 4.
    assert [x for x, _ in printed.points] == [0, 4]
    assert printed.points[1][1] - printed.points[0][1] == pytest.approx(8.0)


def test_the_report_has_the_section_only_where_bound_json_is(make_run: MakeRun) -> None:
    run = make_run()
    assert "Leakage bounds" not in write_report(run).read_text(encoding="utf-8")
    (run / "bound.json").write_text(json.dumps(content(0, 4)))
    text = write_report(run).read_text(encoding="utf-8")
    assert text.count("Theorem 1 over the pruning rate") >= 1
    assert "these figures rank nothing" in text and ">pruning rate p</text>" in text


@pytest.mark.parametrize("damaged", ["{", "[]", '{"points": []}', '{"points": [{"round": 1}]}'])
def test_a_damaged_bound_json_is_named_and_left_out(damaged: str, make_run: MakeRun) -> None:
    run = make_run()
    (run / "bound.json").write_text(damaged)
    text = write_report(run).read_text(encoding="utf-8")
    assert "bound.json is damaged and was left out." in text
    assert "Leakage bounds" not in text
