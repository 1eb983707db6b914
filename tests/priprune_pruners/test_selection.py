"""Selection rules against hand-made cases; the official masks are in the tests of each pruner."""

import pytest
import torch

from priprune_plugins.layout import Layout
from priprune_plugins.masks import kth_lowest, without_lowest
from priprune_pruners.selection import RULES, keep_top, open_lth, select, select_per_layer

SCORES = torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0, 7.0, 6.0, 10.0, 9.0, 8.0])
# Removed of ten distinct scores at rate 0.35, counted by hand from each repository's threshold.
REMOVED = {"exact": 4, "synaptic_flow": 3, "mil_ad": 4, "grasp": 2, "open_lth": 5, "prunefl": 3, "lotteryfl": 4}


@pytest.mark.parametrize("rule", RULES)
def test_rule_removes_the_count_of_its_official_code(rule: str) -> None:
    kept = RULES[rule](SCORES, 0.35)
    assert sorted(SCORES[~kept].tolist()) == [float(v) for v in range(1, REMOVED[rule] + 1)]


@pytest.mark.parametrize(("rule", "removed"), [("exact", 2), ("synaptic_flow", 3), ("mil_ad", 1), ("prunefl", 1)])
def test_ties_at_the_threshold(rule: str, removed: int) -> None:
    kept = RULES[rule](torch.tensor([1.0, 2.0, 2.0, 3.0]), 0.5)
    assert int((~kept).sum()) == removed


def test_exact_breaks_ties_by_position() -> None:
    assert RULES["exact"](torch.ones(4), 0.5).tolist() == [False, False, True, True]


def test_open_lth_takes_its_share_of_all_survivors() -> None:
    assert int((~open_lth(SCORES, 0.2, population=20)).sum()) == 5


def test_select_leaves_all_but_candidates() -> None:
    candidates = torch.tensor([True, False, True, False, True, True])
    mask = select(torch.tensor([9.0, 0.0, 1.0, 0.0, 2.0, 8.0]), candidates, 0.5)
    assert mask.tolist() == [True, True, False, True, False, True]


def test_select_refuses_nan_of_a_candidate_only() -> None:
    scores = torch.tensor([float("nan"), 1.0, 2.0])
    assert select(scores, torch.tensor([False, True, True]), 0.5).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="NaN"):
        select(scores, torch.ones(3, dtype=torch.bool), 0.5)


def test_per_layer_rate_holds_in_every_layer() -> None:
    layout = Layout(("a.weight", "b.weight"), (torch.Size([4]), torch.Size([6])), (True, True))
    mask = select_per_layer(SCORES, layout.prunable, 0.5, layout)
    assert mask.tolist() == [True, False, False, True, False, False, False, True, True, True]


def test_keep_top_takes_candidates_only() -> None:
    candidates = torch.tensor([True] * 7 + [False] * 3)
    assert torch.nonzero(keep_top(SCORES, candidates, 2)).flatten().tolist() == [5, 6]
    assert int(keep_top(SCORES, candidates, 99).sum()) == 7


def _long(kind: str) -> torch.Tensor:
    drawn = torch.rand(120_001, generator=torch.Generator().manual_seed(1))
    return {"distinct": drawn, "ties": (drawn * 5).floor(), "sorted": drawn.sort().values, "one": torch.ones(120_001),
            "half pruned": torch.where(drawn < 0.5, -torch.inf, drawn)}[kind]  # fmt: skip


@pytest.mark.parametrize("kind", ["distinct", "ties", "sorted", "one", "half pruned"])
def test_long_vectors_are_ordered_as_by_a_full_sort(kind: str) -> None:
    scores = _long(kind)
    order = torch.sort(scores, stable=True)
    for count in (1, 700, 60_000, 119_000, 120_001):
        assert kth_lowest(scores, count) == order.values[count - 1]
        kept = without_lowest(scores, torch.ones_like(scores, dtype=torch.bool), count)
        assert torch.equal(torch.nonzero(~kept).flatten(), order.indices[:count].sort().values)


def test_infinite_candidates_go_before_any_other_coordinate() -> None:
    scores = torch.tensor([torch.inf, 1.0, torch.inf, 2.0])
    kept = without_lowest(scores, torch.tensor([False, True, True, False]), 2)
    assert kept.tolist() == [True, False, False, True]
