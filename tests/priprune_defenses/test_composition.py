import torch

from priprune_defenses.composition import keep, swap_


def test_swapping_masks_keeps_what_was_trained() -> None:
    broadcast, own = torch.tensor([1.0, 1, 1, 1]), torch.tensor([5.0, 5, 5, 5])
    before, after = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    weights = torch.tensor([5.0, 5, 1, 1]) + 0.25
    swap_(weights, broadcast, own, before, after)
    assert weights.tolist() == [5.25, 1.25, 5.25, 1.25]


def test_weights_that_are_not_finite_replace_the_kept_ones_by_nothing() -> None:
    state = {"own": torch.ones(2), "withheld": torch.ones(2, dtype=torch.bool)}
    keep(state, torch.tensor([1.0, torch.inf]), torch.ones(2, dtype=torch.bool))
    assert "own" not in state
