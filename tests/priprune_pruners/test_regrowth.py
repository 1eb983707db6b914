"""Pruning to a budget and growing back, layer by layer."""

import torch

from priprune_plugins.layout import Layout
from priprune_pruners.regrowth import grown_to, pruned_to

LAYOUT = Layout(("a.weight", "b.weight"), (torch.Size([4]), torch.Size([4])), (True, True))
SCORES = torch.tensor([4.0, 3.0, 2.0, 1.0, 1.0, 2.0, 3.0, 4.0])


def positions(mask: torch.Tensor) -> list[int]:
    return torch.nonzero(mask).flatten().tolist()


def test_each_layer_keeps_its_budget_of_what_it_had() -> None:
    had = torch.tensor([False, True, True, True, True, True, True, True])
    assert positions(pruned_to(SCORES, had, (2, 3), LAYOUT)) == [1, 2, 5, 6, 7]
    assert positions(pruned_to(SCORES, had, (4, 0), LAYOUT)) == [1, 2, 3]


def test_growth_takes_back_the_highest_dropped() -> None:
    mask = torch.tensor([True, False, False, False, True, False, False, True])
    assert positions(grown_to(SCORES, mask, (3, 2), LAYOUT)) == [0, 1, 2, 4, 7]


def test_official_growth_falls_short_where_it_meets_kept_weights() -> None:
    mask = torch.tensor([True, False, False, False, True, True, True, True])
    assert positions(grown_to(SCORES, mask, (3, 4), LAYOUT, over_all=True)) == [0, 1, 4, 5, 6, 7]
