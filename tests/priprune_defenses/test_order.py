import pytest
import torch
from torch import Tensor

from priprune_defenses.order import is_lowest, kth_lowest

DRAWS = torch.Generator().manual_seed(0)
MANY = torch.randn(200_000, generator=DRAWS)
CASES = {
    "spread": MANY,
    "mostly one value": MANY * (torch.rand(200_000, generator=DRAWS) > 0.7),
    "sample misleads": MANY.clone().index_fill_(0, torch.arange(0, 200_000, 200_000 // 2**15), 9.0),
    "infinite": MANY.masked_fill(MANY > 1, torch.inf).masked_fill(MANY < -1, -torch.inf),
    "few": MANY[:7],
}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.65, 1.0])
@pytest.mark.parametrize("scores", CASES.values(), ids=CASES.keys())
def test_kth_lowest_equals_a_full_sort(scores: Tensor, share: float) -> None:
    count = max(1, round(share * scores.numel()))
    assert kth_lowest(scores, count) == scores.sort().values[count - 1]


@pytest.mark.parametrize("count", [0, 1, 1000, 130_000])
@pytest.mark.parametrize("scores", list(CASES.values())[:4], ids=list(CASES)[:4])
def test_the_lowest_are_those_of_a_stable_sort(scores: Tensor, count: int) -> None:
    expected = torch.zeros(scores.numel(), dtype=torch.bool)
    expected[scores.sort(stable=True).indices[:count]] = True
    assert torch.equal(is_lowest(scores, count), expected)
