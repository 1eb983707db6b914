"""The curves of the masks: which layers are drawn and under which names."""

from typing import Any

from priprune_plugins.report.chart import Chart
from priprune_plugins.report.training_charts import training_charts


def charts(densities: list[list[float]], layers: list[str]) -> dict[str, Chart]:
    rounds: list[dict[str, Any]] = [
        {"round": number, "layer_density": shares, "mask_change": 0.1 * number}
        for number, shares in enumerate(densities)
    ]
    return {chart.title: chart for chart in training_charts(rounds, [], layers)}


def test_every_layer_has_its_line_and_its_name() -> None:
    drawn = charts([[1.0, 0.5], [0.75, 0.25]], ["conv1.weight", "fc.weight"])
    lines = {series.name: list(series.points) for series in drawn["Density per layer"].series}
    assert lines == {"conv1": [(0.0, 1.0), (1.0, 0.75)], "fc": [(0.0, 0.5), (1.0, 0.25)]}
    (moved,) = drawn["Share of the server's mask that changed"].series
    assert list(moved.points) == [(0.0, 0.0), (1.0, 0.1)]


def test_of_many_layers_the_six_sparsest_are_drawn_in_their_order() -> None:
    last = [0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4]
    drawn = charts([last], [])
    chart = drawn["Density per layer, the 6 sparsest of 8"]
    assert [series.name for series in chart.series] == [f"layer {n}" for n in (2, 4, 5, 6, 7, 8)]
    assert [series.colour for series in chart.series] == [0, 1, 2, 3, 4, 5]


def test_a_run_without_masks_has_no_curve_of_them() -> None:
    assert charts([[1.0, 1.0], [1.0, 1.0]], ["a", "b"]) == {}
    assert training_charts([{"round": 0}], []) == []
