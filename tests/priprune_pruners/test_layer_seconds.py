"""Seconds per parameter: counted by hand, measured positive, given in order."""

import pytest
import torch
from torch import nn

from priprune_plugins import ScenarioError
from priprune_plugins.layout import Layout
from priprune_pruners.layer_seconds import counted_seconds, layer_seconds, measured_seconds
from priprune_pruners.magnitude import Magnitude


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 36, 3))


def test_a_kernel_weight_works_at_every_position_and_a_linear_one_once() -> None:
    model = net()
    seconds = counted_seconds(model, Layout.of(model), (1, 6, 6), images=10, comm=1.0, multiply_add=0.5)
    assert seconds.tolist() == [1 + 0.5 * 10 * 36, 0, 0, 0, 1 + 0.5 * 10, 0]
    assert model.training


def test_measured_seconds_are_positive_where_prunable() -> None:
    model = net()
    seconds = measured_seconds(model, Layout.of(model), torch.rand(4, 1, 6, 6), steps=2, comm=1e-6)
    assert [bool(value > 1e-6) for value in seconds] == [True, False, False, False, True, False]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_given_seconds_go_to_prunable_layers_in_order(federation, net_builder) -> None:
    facts = federation(Magnitude(), net_builder).facts
    assert layer_seconds((1, 2, 3, 4), facts).tolist() == [1, 0, 2, 0, 3, 0, 4, 0]
    with pytest.raises(ScenarioError, match=r"pruner\.seconds.*\(4\), got 3"):
        layer_seconds((1, 2, 3), facts)


@pytest.mark.parametrize("word", ["counted", "measured"])
def test_words_give_one_number_per_layer(federation, net_builder, word: str) -> None:
    facts = federation(Magnitude(), net_builder).facts
    assert layer_seconds(word, facts).shape == (8,)
