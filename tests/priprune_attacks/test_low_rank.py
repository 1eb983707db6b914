"""Low-rank completion on random matrices."""

import torch
from torch import Tensor

from priprune_attacks.low_rank import LowRank, complete_low_rank

RANK = 4


def random_matrix() -> Tensor:
    draws = torch.Generator().manual_seed(0)
    strengths = torch.tensor([1.0, 0.5, 0.1, 0.02])
    return torch.randn(60, RANK, generator=draws) * strengths @ torch.randn(RANK, 80, generator=draws)


def completed(matrix: Tensor, seen: Tensor, rank: int = RANK) -> LowRank:
    found = complete_low_rank(matrix * seen, seen, rank, torch.Generator().manual_seed(1))
    assert found is not None
    return found


def test_forty_percent_of_the_entries_give_the_others() -> None:
    matrix = random_matrix()
    seen = torch.rand(matrix.shape, generator=torch.Generator().manual_seed(2)) < 0.4
    found = completed(matrix, seen)
    whole = (found.left * found.values) @ found.right
    torch.testing.assert_close(whole.float(), matrix, rtol=1e-3, atol=1e-4)
    assert found.residual < 1e-9


def test_all_entries_give_the_singular_values() -> None:
    matrix = random_matrix()
    found = completed(matrix, torch.ones_like(matrix, dtype=torch.bool))
    torch.testing.assert_close(found.values, torch.linalg.svdvals(matrix.double())[:RANK], rtol=1e-6, atol=1e-6)
    identity = torch.eye(RANK, dtype=torch.float64)
    torch.testing.assert_close(found.right @ found.right.T, identity, rtol=0, atol=1e-9)


def test_directions_within_the_noise_are_dropped() -> None:
    matrix = random_matrix()
    assert len(completed(matrix, torch.ones_like(matrix, dtype=torch.bool), rank=9).values) == RANK


def test_zeros_alone_give_nothing() -> None:
    nothing = torch.zeros(3, 4)
    assert complete_low_rank(nothing, nothing == 0, 2, torch.Generator()) is None
