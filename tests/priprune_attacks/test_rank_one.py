"""Rank-one completion, by hand and on random matrices."""

import torch
from torch import Tensor

from priprune_attacks.rank_one import columns_given_rows, complete_rank_one

ROWS = torch.tensor([2.0, 0.0, -1.0])
COLUMNS = torch.tensor([3.0, 0.0, 4.0, 0.0])
EVERYTHING = torch.ones(3, 4, dtype=torch.bool)


def random_outer(seed: int = 0) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(40, generator=draws), torch.rand(60, generator=draws)


def test_the_whole_matrix_gives_its_factors() -> None:
    found = complete_rank_one(ROWS.outer(COLUMNS), EVERYTHING)
    assert found is not None
    torch.testing.assert_close(found.columns, COLUMNS / 5)
    torch.testing.assert_close(found.rows, ROWS * 5)
    assert found.residual < 1e-12


def test_one_entry_per_row_and_column_beyond_a_path_is_enough() -> None:
    seen = torch.zeros(3, 4, dtype=torch.bool)
    seen[0, 0] = seen[0, 2] = seen[2, 2] = True
    found = complete_rank_one(ROWS.outer(COLUMNS), seen)
    assert found is not None
    torch.testing.assert_close(found.rows.outer(found.columns), ROWS.outer(COLUMNS))
    assert found.columns_known.tolist() == [True, False, True, False]
    assert found.rows_known.tolist() == [True, False, True]


def test_the_largest_entries_are_not_needed() -> None:
    d, a = random_outer()
    matrix = d.outer(a)
    seen = matrix.abs() < matrix.abs().quantile(0.3)
    found = complete_rank_one(matrix, seen)
    assert found is not None and bool(found.columns_known.all())
    torch.testing.assert_close(found.columns, a / a.norm(), rtol=1e-4, atol=1e-5)


def test_a_zero_between_nonzero_entries_was_rounded_away_and_is_left_out() -> None:
    d, a = random_outer()
    a = a + 0.2
    matrix = d.outer(a)
    matrix[matrix.abs() < 0.05] = 0.0
    found = complete_rank_one(matrix, torch.ones_like(matrix, dtype=torch.bool))
    assert found is not None
    torch.testing.assert_close(found.columns, a / a.norm(), rtol=1e-4, atol=1e-5)


def test_noise_is_averaged_out_and_its_size_is_told() -> None:
    d, a = random_outer()
    noise = 0.1 * torch.randn(40, 60, generator=torch.Generator().manual_seed(1))
    found = complete_rank_one(d.outer(a) + noise, torch.ones(40, 60, dtype=torch.bool))
    assert found is not None
    error = float((found.columns - a / a.norm()).square().sum())
    assert 0.5 * error < found.error < 2 * error


def test_zeros_alone_give_nothing() -> None:
    assert complete_rank_one(torch.zeros(3, 4), EVERYTHING) is None
    assert complete_rank_one(ROWS.outer(COLUMNS), ~EVERYTHING) is None


def test_least_squares_by_column_is_the_formula() -> None:
    d, a = random_outer()
    used = (torch.rand(40, 60, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    matrix = used * (d.outer(a) + 0.1)
    expected = [(matrix[:, j] * d).sum() / (used[:, j] * d.square()).sum() for j in range(60)]
    torch.testing.assert_close(columns_given_rows(matrix, used, d), torch.stack(expected))
