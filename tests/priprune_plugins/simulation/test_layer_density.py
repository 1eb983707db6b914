"""Densities per layer and the mask's change, by hand on a net of 6 + 2 and 4 + 2 parameters."""

import pytest
import torch
from torch import Tensor, nn

from priprune_plugins.layout import Layout
from priprune_plugins.simulation.layer_density import MaskMeter, changed_share, kept_per_layer


@pytest.fixture
def layout() -> Layout:
    return Layout.of(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)))


def mask_without(*pruned: int) -> Tensor:
    mask = torch.ones(14, dtype=torch.bool)
    mask[list(pruned)] = False
    return mask


def following(layout: Layout, mask: Tensor) -> MaskMeter:
    meter = MaskMeter(layout)
    meter.follow(mask)
    return meter


def test_biases_are_not_counted(layout: Layout) -> None:
    assert kept_per_layer(mask_without(0, 1, 6, 8), layout) == [4, 3]
    assert kept_per_layer(None, layout) == [6, 4]


def test_change_counts_prunable_coordinates_that_went_and_came(layout: Layout) -> None:
    first, second = mask_without(0, 1), mask_without(1, 8, 6)
    assert changed_share(first, second, layout.prunable) == 2 / 10
    assert changed_share(None, first, layout.prunable) == 2 / 10
    assert changed_share(first, None, layout.prunable) == 2 / 10
    assert changed_share(None, None, layout.prunable) == 0.0


def test_figures_are_means_over_the_clients(layout: Layout) -> None:
    broadcast, personal = mask_without(0), mask_without(0, 1, 2, 8)
    measured = following(layout, broadcast).measure([broadcast, personal, personal])
    assert measured["layer_density"] == pytest.approx([(5 + 3 + 3) / 18, (4 + 3 + 3) / 12])
    assert measured["density"] == pytest.approx((9 + 6 + 6) / 30)


def test_a_round_without_uploads_has_the_broadcasts_density(layout: Layout) -> None:
    assert following(layout, mask_without(0)).measure([])["layer_density"] == [5 / 6, 1.0]


def test_the_servers_mask_is_counted_again_where_it_changed(layout: Layout) -> None:
    mask, other = mask_without(0), mask_without(0, 1)
    meter = following(layout, mask)
    assert meter.measure([mask])["layer_density"] == [5 / 6, 1.0]
    meter.follow(other)
    assert meter.changed and meter.measure([other])["layer_density"] == [4 / 6, 1.0]
    meter.follow(other.clone())
    assert not meter.changed and meter.measure([])["mask_change"] == 0.0


def test_a_layer_dies_once(layout: Layout) -> None:
    meter = MaskMeter(layout)
    assert meter.names == ("0.weight", "2.weight")
    assert meter.died([0.5, 1.0]) == []
    assert meter.died([0.0, 1.0]) == ["0.weight"]
    assert meter.died([0.0, 0.0]) == ["2.weight"]
