import pytest
import torch

from priprune_plugins.messages import Upload
from priprune_plugins.simulation.withheld import withheld_figures, withheld_shares

SHARED = torch.tensor([True, False, False, True])
START, END = torch.tensor([1.0, 2, 3, 4]), torch.tensor([2.0, 2.5, 1, 0])  # |change| 1, 0.5, 2, 4


def upload(shared: torch.Tensor | None) -> Upload:
    return Upload((0,), 0, 20, END, shared)


def measured(
    sent: Upload, mask: torch.Tensor | None, start: torch.Tensor, end: torch.Tensor, pruned: bool = False
) -> tuple[float, float | None]:
    return withheld_shares(sent, withheld_figures(sent, mask, start, end, pruned).tolist())


def test_shares_are_of_what_the_base_mask_keeps() -> None:
    mask = torch.tensor([True, True, False, True])
    assert measured(upload(None), mask, START, END) == (0.0, 0.0)
    assert measured(upload(SHARED), None, START, END) == pytest.approx((0.5, 2.5 / 7.5))
    assert measured(upload(SHARED), mask, START, END) == pytest.approx((1 / 3, 0.5 / 5.5))


def test_an_update_of_nothing_has_no_mass() -> None:
    assert measured(upload(SHARED), None, START, START) == (0.5, None)


def test_sums_over_many_parts_equal_those_over_the_whole() -> None:
    draws = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 300_001, generator=draws)
    shared, mask = torch.rand(2, 300_001, generator=draws) < 0.7
    start, end = start * mask, end * mask
    sizes = (start - end).abs().double()
    expected = (1 - float((mask & shared).sum() / mask.sum()), float(sizes[mask & ~shared].sum() / sizes.sum()))
    sent = Upload((0,), 0, 20, end, shared)
    assert measured(sent, mask, start, end) == pytest.approx(expected, rel=1e-5)
    assert measured(sent, mask, start, end, pruned=True) == pytest.approx(expected, rel=1e-5)
