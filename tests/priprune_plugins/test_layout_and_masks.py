"""Flat vectors and masks, by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from priprune_plugins.layout import Layout
from priprune_plugins.masks import (
    applied,
    apply_,
    chosen,
    density,
    intersection,
    keep_highest,
    put_,
    same_bits,
    selected,
    without_lowest,
)


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def test_layout_follows_parameters_and_prunes_only_conv_and_linear_weights() -> None:
    layout = Layout.of(net())
    assert layout.names == ("0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias")
    assert layout.sizes == (18, 2, 2, 2, 24, 3)
    assert layout.num_parameters == 51
    assert layout.prunable.sum() == 18 + 24
    assert layout.prunable[:18].all()
    assert layout.prunable[24:48].all()
    assert layout.layer_ids[[0, 18, 20, 22, 24, 48]].tolist() == [0, 1, 2, 3, 4, 5]


def test_unflatten_gives_views_and_keeps_leading_axes() -> None:
    layout = Layout.of(net())
    flat = torch.arange(2 * 51.0).reshape(2, 51)
    views = layout.unflatten(flat)
    assert views["0.weight"].shape == (2, 2, 1, 3, 3)
    assert views["3.bias"].tolist() == [[48, 49, 50], [99, 100, 101]]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.floats(0, 0.999))
def test_exactly_the_promised_number_of_lowest_scores_goes_ties_by_position(values: list[int], rate: float) -> None:
    scores = torch.tensor(values, dtype=torch.float32)
    mask = keep_highest(scores, torch.ones(len(values), dtype=torch.bool), rate)
    order = sorted(range(len(values)), key=lambda position: (values[position], position))
    expected = set(order[: round(rate * len(values))])
    assert {position for position, kept in enumerate(mask.tolist()) if not kept} == expected


def test_only_candidates_are_removed() -> None:
    candidates = torch.tensor([False, True, True, False, True, True])
    mask = keep_highest(torch.tensor([0.0, 5.0, 1.0, 0.0, 2.0, 9.0]), candidates, 0.5)
    assert mask.tolist() == [True, True, False, True, False, True]
    assert density(mask, candidates) == 0.5


def test_nan_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        keep_highest(torch.tensor([1.0, float("nan")]), torch.ones(2, dtype=torch.bool), 0.5)


def test_pruned_weights_become_positive_zero_even_from_negative_or_infinite_ones() -> None:
    weights = torch.tensor([-1.0, float("inf"), 2.0])
    mask = torch.tensor([False, False, True])
    assert applied(weights, mask).tolist() == [0.0, 0.0, 2.0]
    assert not torch.signbit(applied(weights, mask)).any()
    assert applied(weights, None) is weights
    apply_(weights, mask)
    assert weights.tolist() == [0.0, 0.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_chosen_takes_each_side_bit_for_bit(dtype: torch.dtype) -> None:
    kept = torch.tensor([1.5, float("nan"), -0.0, float("inf")], dtype=dtype)
    other = torch.tensor([-2.5, 3.0, 7.0, -0.0], dtype=dtype)
    mask = torch.tensor([True, False, True, False])
    assert chosen(mask, kept, other).tolist() == [1.5, 3.0, 0.0, 0.0]
    assert torch.signbit(chosen(mask, kept, other)).tolist() == [False, False, True, True]
    assert kept.isnan()[1]


def test_values_are_taken_and_put_where_a_mask_is_true() -> None:
    mask, values = torch.tensor([True, False, True]), torch.tensor([1.0, 2, 3])
    assert selected(values, mask).tolist() == [1, 3]
    assert put_(values, mask, torch.tensor([8.0, 9])).tolist() == [8, 2, 9]


def test_bits_are_compared_and_not_numbers() -> None:
    zeros = torch.zeros(300_000)
    other = zeros.clone()
    assert same_bits(zeros, other) and same_bits(torch.full((2,), torch.nan), torch.full((2,), torch.nan))
    other[-1] = -0.0
    assert not same_bits(zeros, other)


def test_of_millions_of_ties_the_first_go() -> None:
    scores = torch.zeros(400_000)
    scores[1], scores[2] = -1.0, 1.0
    kept = without_lowest(scores, torch.arange(400_000) != 0, 300_000)
    assert not kept[1] and kept[0] and kept[2] and not kept[3:300_002].any() and kept[300_002:].all()


def test_an_intersection_without_one_mask_is_the_other_itself() -> None:
    left, right = torch.tensor([True, True, False]), torch.tensor([True, False, False])
    both = intersection(left, right)
    assert both is not None and both.tolist() == [True, False, False]
    assert intersection(left, None) is left and intersection(None, right) is right
    assert intersection(None, None) is None
