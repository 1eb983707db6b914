"""What is held and what is sent, by the formulas."""

import torch

from priprune_defenses.error_feedback import Held, gap_after, hold_, released


def test_a_warm_up_lets_the_gap_grow_from_one() -> None:
    assert [gap_after(taken, 3, 4) for taken in range(6)] == [1, 1, 2, 2, 3, 3]
    assert [gap_after(taken, 2, 0) for taken in range(2)] == [2, 2]
    assert {gap_after(taken, gap, 4) - gap for taken in range(6) for gap in (0, 1)} == {0}


def test_what_is_sent_and_held_over_many_coordinates_is_what_the_formula_says() -> None:
    draws = torch.Generator().manual_seed(0)
    size = 300_001
    weights, received, start, residual = torch.randn(4, size, generator=draws)
    mask, release = torch.rand(2, size, generator=draws) < 0.5
    release &= mask
    held = Held(residual.clone(), torch.full((size,), 3, dtype=torch.int8))
    sent = released(weights, received, held, release, mask)
    assert torch.equal(sent, torch.where(release, weights + residual, received).masked_fill(~mask, 0.0))
    hold_(held, weights, start, release, mask)
    stays = mask & ~release
    assert torch.equal(held.residual, (residual + (weights - start)).masked_fill(~stays, 0.0))
    assert torch.equal(held.age, 4 * stays.to(torch.int8))
