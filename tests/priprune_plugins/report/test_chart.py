import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from priprune_plugins.report.chart import Chart, Series, draw, spread, thinned
from priprune_plugins.report.scale import fitted, nice_step


def test_a_chart_is_well_formed_and_names_its_lines() -> None:
    chart = Chart("A <title>", "dB & more", [Series("<i>up</i>", [(0, 1.0), (9, 3.0)]), Series("none", [])])
    root = ElementTree.fromstring(str(draw(chart)))
    texts = [element.text for element in root.iter("text")]
    assert {"<i>up</i>", "round", "dB & more"} <= set(texts)
    assert "none" not in texts
    assert root.attrib["aria-label"] == "A <title>"


def test_higher_values_lie_higher_and_later_rounds_to_the_right() -> None:
    svg = str(draw(Chart("", "", [Series("a", [(0, 1.0), (4, 3.0)])])))
    places = [tuple(map(float, place)) for place in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)]
    (left, low), (right, high) = places
    assert left < right
    assert high < low


def test_one_round_draws_a_point_and_a_stroke_for_its_floor() -> None:
    svg = str(draw(Chart("", "", [Series("a", [(3, 0.0)]), Series("floor", [(3, 0.0)], "floor")])))
    assert svg.count("<circle") == 1
    assert "nan" not in svg


def test_floors_are_dashed_and_victims_are_dots() -> None:
    svg = str(draw(Chart("", "", [Series("f", [(0, 1), (1, 1)], "floor"), Series("v", [(0, 2), (0, 3)], "dots")])))
    assert svg.count('class="floor c0"') == 1
    assert svg.count('class="dot c0"') == 2


def test_many_rounds_are_thinned_and_the_last_is_kept() -> None:
    points = [(float(n), 1.0) for n in range(20_000)]
    got = thinned(points)
    assert len(got) <= 402
    assert (got[0], got[-1]) == (points[0], points[-1])


@pytest.mark.parametrize("heights", [[50.0, 50.0, 51.0], [198.0, 199.0, 200.0], [10.0, 100.0, 190.0]])
def test_names_at_the_line_ends_do_not_overlap(heights: list[float]) -> None:
    placed = spread(heights, 10.0, 200.0)
    assert all(below - above >= 13 for above, below in pairwise(placed))
    assert max(placed) <= 200


@pytest.mark.parametrize(("raw", "step"), [(0.11, 0.2), (0.2, 0.2), (3.0, 5.0), (7.0, 10.0), (1300.0, 2000.0)])
def test_a_step_is_one_two_or_five_times_a_power_of_ten(raw: float, step: float) -> None:
    assert nice_step(raw) == pytest.approx(step)


def test_an_axis_holds_its_values_and_rounds_are_whole_numbers() -> None:
    scale = fitted(0.0, 0.93, 200.0, 0.0, 5)
    assert scale.ticks() == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert scale(0.5) == pytest.approx(100.0)
    assert fitted(0, 2, 0, 100, 6, whole=True).ticks() == [0.0, 1.0, 2.0]
