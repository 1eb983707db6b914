"""PruneFL's first stage: when it starts, when it stops, what it leaves."""

import torch
from torch import nn

from priprune_plugins.layout import Layout
from priprune_pruners.initial_pruning import InitialPruning, initially_pruned


def stage(plan: InitialPruning, shrink=0.5, lr: float = 0.1, separable: bool = True):
    stream = torch.Generator().manual_seed(0)
    images = torch.rand(20, 6, generator=stream)
    labels = (images[:, 0] > 0.5).long() if separable else torch.arange(20) % 2
    model = nn.Sequential(nn.Linear(6, 2))
    layout = Layout.of(model)
    start, calls = torch.zeros(layout.num_parameters), []

    def reconfigure(weights, mask, importance):
        calls.append(importance.clone())
        kept = torch.nonzero(mask & layout.prunable).flatten()
        mask = mask.clone()
        mask[kept[: round(shrink * kept.numel())]] = False
        return mask

    weights, mask = initially_pruned(model, layout, start, [(images, labels)], lr, 2, reconfigure, plan)
    return weights, mask, calls, layout


def test_reconfigures_every_few_passes_from_the_start_accuracy_on() -> None:
    _, mask, calls, _ = stage(InitialPruning(passes=40, every=10, start_factor=0.1), shrink=0.25)
    assert len(calls) == 4
    assert int((~mask).sum()) == 12 - 4


def test_stops_once_little_changes() -> None:
    plan = InitialPruning(passes=1000, every=1, start_factor=0.1, patience=5)
    assert len(stage(plan, shrink=0.0)[2]) == 6


def test_without_the_start_accuracy_it_reconfigures_once_at_the_end() -> None:
    plan = InitialPruning(passes=3, every=1, start_factor=3.0)
    weights, mask, calls, _ = stage(plan)
    assert len(calls) == 1
    assert bool((weights[~mask] == 0).all())


def test_importance_is_the_sum_of_squared_dense_gradients_and_begins_anew() -> None:
    _, _, calls, layout = stage(InitialPruning(passes=2, every=1, start_factor=0.1), lr=1e-12)
    assert bool((calls[1][layout.prunable] > 0).all())
    torch.testing.assert_close(calls[0], calls[1])
