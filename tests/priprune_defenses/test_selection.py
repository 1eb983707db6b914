from math import comb

import pytest
import torch

from priprune_defenses.bernoulli import flips, random_bytes
from priprune_defenses.selection import random_subset


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [1, 7, 8, 1000, 70_001])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.3, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("some", [False, True])
def test_a_random_subset_has_the_exact_count_and_only_candidates(size: int, share: float, some: bool) -> None:
    candidates = torch.rand(size, generator=seeded(1)) < 0.4 if some else None
    count = round(share * (size if candidates is None else int(candidates.sum())))
    chosen = random_subset(size, candidates, count, seeded(2))
    assert chosen.dtype == torch.bool and int(chosen.sum()) == count
    assert candidates is None or not (chosen & ~candidates).any()


def test_every_subset_is_equally_likely() -> None:
    draws, counts = 6000, {}
    for seed in range(draws):
        chosen = tuple(random_subset(5, None, 2, seeded(seed)).nonzero().squeeze(1).tolist())
        counts[chosen] = counts.get(chosen, 0) + 1
    expected = draws / comb(5, 2)
    assert len(counts) == 10
    # Chi-squared with 9 degrees of freedom exceeds 27.9 once in a thousand times.
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 27.9


def test_all_bits_of_the_random_bytes_are_fair() -> None:
    draws = random_bytes(80_000, seeded(3)).view(-1, 8)  # a word of eight bytes a row
    bits = torch.stack([(draws >> shift) & 1 for shift in range(8)]).double().mean(1)
    assert ((bits - 0.5).abs() < 4.5 * (0.25 / 10_000) ** 0.5).all()


@pytest.mark.parametrize("probability", [0.0, 1e-3, 0.2, 0.5, 0.999, 1.0])
def test_flips_have_the_probability_asked_for(probability: float) -> None:
    heads = flips(400_000, probability, seeded(4)).double().mean()
    assert abs(float(heads) - probability) <= 4.5 * (probability * (1 - probability) / 400_000) ** 0.5
