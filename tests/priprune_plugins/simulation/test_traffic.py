"""Bytes of what clients send beside their weights."""

import torch

from priprune_plugins import Upload
from priprune_plugins.simulation.traffic import extras_bytes, summed


def upload(shared: torch.Tensor | None = None, **extras: torch.Tensor) -> Upload:
    return Upload((0,), 0, 1, torch.zeros(800), shared, extras)


def test_a_vector_counts_what_is_sent_and_not_zero() -> None:
    dense, sparse = torch.ones(800), torch.arange(800) % 2 * 1.0
    assert extras_bytes(upload(scores=dense)) == {"scores": 800 * 4}
    assert extras_bytes(upload(scores=sparse)) == {"scores": 400 * 4 + 100}  # and a bitmap of 800 bits
    assert extras_bytes(upload(torch.arange(800) < 400, scores=sparse)) == {"scores": 200 * 4 + 100}


def test_a_mask_is_one_bit_a_parameter_and_other_tensors_their_size() -> None:
    mask, scalar = torch.zeros(800, dtype=torch.bool), torch.zeros(3, dtype=torch.float64)
    assert extras_bytes(upload(mask=mask, tau=scalar)) == {"mask": 100, "tau": 24}


def test_counts_are_summed_by_name_in_order() -> None:
    assert list(summed([{"b": 1}, {"b": 2, "a": 4}, {}]).items()) == [("a", 4), ("b", 3)]
