import torch

from priprune_plugins.simulation.training_start import pruned_start_

MASK = torch.rand(200_000, generator=torch.Generator().manual_seed(0)) < 0.7
RECEIVED = torch.randn(200_000, generator=torch.Generator().manual_seed(1)) * MASK


def test_unchanged_weights_start_from_the_broadcast_itself() -> None:
    assert pruned_start_(RECEIVED.clone(), MASK, RECEIVED, MASK) is RECEIVED


def test_one_changed_weight_makes_a_copy_that_is_pruned_like_the_weights() -> None:
    weights = RECEIVED.clone()
    weights[-2:] = torch.tensor([-torch.inf, 3.0])
    mask = MASK.clone()
    mask[-2] = False
    start = pruned_start_(weights, mask, RECEIVED, MASK)
    expected = torch.where(mask, weights, 0.0)
    assert torch.equal(start, expected) and torch.equal(weights, expected) and not torch.signbit(start[-2])
    weights += 1
    assert torch.equal(start, expected)


def test_another_mask_is_applied_to_unchanged_weights() -> None:
    half = MASK & (torch.arange(200_000) % 2 == 0)
    start = pruned_start_(RECEIVED.clone(), half, RECEIVED, MASK)
    assert start is not RECEIVED and torch.equal(start, RECEIVED * half)
