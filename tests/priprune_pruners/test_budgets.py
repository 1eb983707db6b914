"""Layer budgets against bibikar/feddst and against RigL's formula written out."""

import pytest
import torch
from torch import nn

from priprune_plugins.layout import Layout
from priprune_pruners.budgets import as_left_by_feddst, feddst_budgets, layer_budgets

LAYERS = {"conv1": (4, 1, 3, 3), "conv2": (8, 4, 3, 3), "fc1": (16, 32), "fc2": (10, 16)}


@pytest.fixture
def layout() -> Layout:
    named = [(f"{name}.{kind}", shape if kind == "weight" else shape[:1], kind == "weight")
             for name, shape in LAYERS.items() for kind in ("weight", "bias")]  # fmt: skip
    names, shapes, prunable = zip(*named, strict=True)
    return Layout(names, tuple(torch.Size(shape) for shape in shapes), prunable)


@pytest.mark.parametrize("distribution", ["erk", "er", "uniform"])
@pytest.mark.parametrize("percent", [30, 50, 80, 90])
def test_official_budgets_and_what_they_leave(oracle, layout, percent: int, distribution: str) -> None:
    data = oracle("feddst")
    ours = feddst_budgets(layout, percent / 100, distribution)
    left = as_left_by_feddst(layout, ours)
    weights = slice(0, None, 2)
    assert list(ours[weights]) == data[f"layer_budget_official/S{percent}/{distribution}"].tolist()
    assert list(left[weights]) == data[f"layer_active_after_prune_official/S{percent}/{distribution}"].tolist()
    assert left[1::2] == layout.sizes[1::2]


def test_erk_densities_share_one_epsilon_below_one(layout) -> None:
    budgets = layer_budgets(layout, 0.5)
    raw = [sum(shape) / torch.Size(shape).numel() for shape in LAYERS.values()]
    sizes = [torch.Size(shape).numel() for shape in LAYERS.values()]
    # conv1's raw density is so high that it becomes dense; the rest share what is left.
    epsilon = (498 - 36) / sum(r * n for r, n in zip(raw[1:], sizes[1:], strict=True))
    expected = [36, *(epsilon * r * n for r, n in zip(raw[1:], sizes[1:], strict=True))]
    assert sum(budgets[::2]) == 498
    assert all(abs(budget - value) < 1 for budget, value in zip(budgets[::2], expected, strict=True))


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.3, 0.77, 0.9, 0.99])
@pytest.mark.parametrize("distribution", ["erk", "er", "uniform"])
def test_budgets_add_up_exactly_and_fit_every_layer(layout, rate: float, distribution: str) -> None:
    budgets = layer_budgets(layout, rate, distribution)
    assert sum(budgets[::2]) == 996 - round(rate * 996)
    assert all(0 <= budget <= size for budget, size in zip(budgets, layout.sizes, strict=True))
    assert budgets[1::2] == layout.sizes[1::2]


def test_norms_keep_all() -> None:
    layout = Layout.of(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 10)))
    budgets = layer_budgets(layout, 0.9)
    assert [budgets[i] for i in (1, 2, 3, 5)] == [8, 8, 8, 10]
