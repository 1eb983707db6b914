"""Bytes of what clients send beside their weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from priprune_plugins import Server, Upload, hookimpl
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.traffic import extras_bytes, summed, vector_bytes


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


def test_a_sparse_vector_is_counted_with_a_bitmap_or_indices_whichever_is_smaller() -> None:
    assert vector_bytes(800, 800, 4) == 3200  # dense
    assert vector_bytes(800, 400, 4) == 400 * 4 + 100  # bitmap of 800 bits
    assert vector_bytes(800, 10, 4) == 10 * 4 + 10 * 4  # 32-bit indices


def test_bytes_of_a_round_by_hand(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class Half:
        @hookimpl
        def on_round_start(self, server: Server) -> None:
            server.mask = torch.arange(server.layout.num_parameters) % 2 == 0

    federated = federation(pruner=Half())
    federated.start_round(0)
    received = federated.train([1, 2, 3])
    size = federated.server.layout.num_parameters  # 2,074 = 4 * 25 + 4 + 196 * 10 + 10
    bitmap, values = -(-size // 8), size // 2 * 4
    up, down = federated.traffic(received)
    assert size == 2074
    assert up == 3 * (values + bitmap)
    assert down == 3 * (values + bitmap + bitmap)  # the new mask travels too
