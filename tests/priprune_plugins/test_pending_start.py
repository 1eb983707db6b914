"""One pass over the start gives what loading, composing, pruning and copying give one after the other."""

import torch

from priprune_plugins.pending_start import PendingStart

D = 300_000  # three parts, the last one shorter
DRAWS = torch.Generator().manual_seed(0)
RECEIVED, OWN, OTHER = torch.randn(3, D, generator=DRAWS)
WHERE, ALSO, MASK = (torch.rand(D, generator=DRAWS) < 0.5 for _ in range(3))


def test_own_values_stand_where_they_are_asked_for_bit_for_bit_and_later_ones_over_earlier() -> None:
    weights = torch.empty(D)
    pending = PendingStart(weights, RECEIVED)
    pending.compose(OWN * 1e-6, WHERE)
    pending.compose(OTHER, ALSO)
    pending.write_()
    assert torch.equal(weights, torch.where(ALSO, OTHER, torch.where(WHERE, OWN * 1e-6, RECEIVED)))


def test_weights_and_copy_are_pruned_alike() -> None:
    weights, copy = torch.empty(2, D)
    pending = PendingStart(weights, RECEIVED)
    pending.compose(OWN, WHERE)
    pending.write_(MASK, copy)
    expected = torch.where(MASK, torch.where(WHERE, OWN, RECEIVED), 0.0)
    assert torch.equal(weights, expected) and torch.equal(copy, expected)
    assert not torch.signbit(weights[~MASK]).any()


def test_the_broadcast_alone_is_loaded() -> None:
    weights = torch.empty(D)
    PendingStart(weights, RECEIVED).write_()
    assert torch.equal(weights, RECEIVED)


def test_weights_may_be_composed_where_they_lie() -> None:
    weights = RECEIVED.clone()
    pending = PendingStart(weights, weights)
    pending.compose(OWN, WHERE)
    pending.write_()
    assert torch.equal(weights, torch.where(WHERE, OWN, RECEIVED))
