import math

import torch

from priprune_defenses.gumbel import logistic, pooled
from priprune_defenses.streams import substream


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_draws_are_the_difference_of_two_gumbels() -> None:
    draws = logistic(200_000, seeded(0), torch.device("cpu")).double()
    levels = torch.tensor([-3.0, -1, 0, 0.5, 2], dtype=torch.float64)
    shares = torch.stack([(draws < level).double().mean() for level in levels])
    assert torch.allclose(shares, levels.sigmoid(), atol=5 * math.sqrt(0.25 / 200_000))


def test_pooled_noise_fits_its_parts_and_has_the_same_law() -> None:
    parts = [slice(0, 50_000), slice(50_000, 60_000), slice(60_000, 60_001)]
    noise = pooled(parts, 2.0, seeded(1), torch.device("cpu"))
    assert [len(part) for part in noise] == [50_000, 10_000, 1]
    assert not torch.equal(noise[0][:10_000], noise[1])
    assert abs(float((noise[0] < 2.0).double().mean()) - 1 / (1 + math.exp(-1))) < 0.015


def test_epochs_have_different_streams_that_a_longer_run_does_not_change() -> None:
    draws = [torch.rand(3, generator=substream(seeded(7), epoch)) for epoch in (0, 1, 0)]
    assert torch.equal(draws[0], draws[2]) and not torch.equal(draws[0], draws[1])
