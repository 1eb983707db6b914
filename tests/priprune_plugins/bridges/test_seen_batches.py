"""A loop draws its own batches; plugins see those of its first pass."""

import torch
from torch.utils.data import DataLoader, TensorDataset

from priprune_plugins.bridges.seen_batches import SeenBatches


def loader() -> DataLoader:
    data = TensorDataset(torch.arange(6.0).view(6, 1, 1, 1), torch.arange(6, dtype=torch.int32))
    return DataLoader(data, batch_size=2, shuffle=True)


def labels(batches: object) -> list[list[int]]:
    return [found.tolist() for _, found in batches]


def test_a_loop_sees_the_batches_that_it_would_without_the_recording() -> None:
    torch.manual_seed(3)
    plain, again = labels(one := loader()), labels(one)
    torch.manual_seed(3)
    seen = SeenBatches(loader(), torch.device("cpu"))
    assert labels(seen.loop) == plain
    assert labels(seen.loop) == again
    assert labels(seen) == plain


def test_a_plugin_that_reads_before_the_loop_draws_the_pass_that_the_loop_then_gets() -> None:
    seen = SeenBatches(loader(), torch.device("cpu"))
    early = labels(seen)
    assert labels(seen.loop) == early


def test_a_loop_that_stops_early_leaves_what_it_took() -> None:
    seen = SeenBatches(loader(), torch.device("cpu"))
    first = next(iter(seen.loop))
    assert len(seen) == 1
    assert torch.equal(seen.distinct()[0], first[0])
    assert seen.distinct()[1].dtype == torch.int64


def test_what_else_a_loop_asks_is_the_loaders_own() -> None:
    seen = SeenBatches(loader(), torch.device("cpu"))
    assert len(seen.loop) == 3
    assert len(seen.loop.dataset) == 6
