"""A matrix of low rank from some of its entries: a layer's gradient over a batch, as far as it was received."""

from dataclasses import dataclass

import torch
from torch import Tensor

_POWER_SWEEPS = 6
_GROWING_SWEEPS = 3
_OVERSAMPLING = 8
# A singular value is told from noise where it stands this far above the first one that a batch cannot have.
_ABOVE_NOISE = 4.0
# Keeps a column solvable that has fewer entries than the rank.
_RIDGE = 1e-10


@dataclass(frozen=True, eq=False)
class LowRank:
    """``left @ diag(values) @ right``, all float64.

    Args:
        left: ``[O, r]``, orthonormal columns.
        values: ``[r]``, falling, positive.
        right: ``[r, N]``, orthonormal rows.
        rows_known: ``[O]`` bool, rows with at least r received entries.
        columns_known: ``[N]`` bool, likewise.
        residual: Squared misfit over the received entries, relative to their squared norm.
        error: Expected error of an entry of ``right``, from noise of the misfit's size in its weakest direction.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    rows_known: Tensor
    columns_known: Tensor
    residual: float
    error: float


def complete_low_rank(
    matrix: Tensor, seen: Tensor, rank: int, generator: torch.Generator, sweeps: int = 60, tolerance: float = 1e-9
) -> LowRank | None:
    """Return the matrix of at most ``rank`` behind ``matrix``, or None where every received entry is 0.

    With all entries this is a truncated singular value decomposition; otherwise alternating least squares from that of
    the zero-filled matrix. Directions that do not stand out of the noise are dropped, so the rank found may be lower.

    Args:
        matrix: ``[O, N]``.
        seen: ``[O, N]`` bool.
        rank: Most directions, the number of images.
        generator: CPU generator of the sketch that finds the leading directions.
        sweeps: Most sweeps of alternating least squares.
        tolerance: Relative change of the residual at which the sweeps stop.
    """
    nonzero = seen & (matrix != 0)
    rows, columns = nonzero.any(1), nonzero.any(0)
    if not bool(rows.any()):
        return None
    used = seen[rows][:, columns].double()
    entries = matrix[rows][:, columns].double() * used
    rank = min(rank, *entries.shape)
    left, values, right, noise = _leading(entries, rank, generator)
    if not bool(used.all()):
        left, values, right, noise = _alternate(entries, used, rank, sweeps, tolerance, generator)
    kept = max(1, int((values > _ABOVE_NOISE * noise).sum()))
    left, values, right = left[:, :kept], values[:kept], right[:kept]
    misfit = (used * (entries - (left * values) @ right)).square().sum()
    deviation = (misfit / used.sum()).sqrt()
    return LowRank(
        left=_spread(left, rows),
        values=values,
        right=_spread(right.T, columns).T,
        rows_known=seen.sum(1) >= rank,
        columns_known=seen.sum(0) >= rank,
        residual=float(misfit / entries.square().sum()),
        error=float(deviation / values[-1]),
    )


def _leading(entries: Tensor, rank: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, float]:
    """Return the leading singular triplets and the first singular value after them, by subspace iteration.

    Reference: Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 2011, algorithm 4.4.
    """
    width = min(rank + _OVERSAMPLING, *entries.shape)
    sketch = torch.randn(entries.shape[1], width, generator=generator, dtype=torch.float64).to(entries.device)
    basis = torch.linalg.qr(entries @ sketch).Q
    for _ in range(_POWER_SWEEPS):
        basis = torch.linalg.qr(entries @ torch.linalg.qr(entries.T @ basis).Q).Q
    inner, values, right = torch.linalg.svd(basis.T @ entries, full_matrices=False)
    noise = float(values[rank]) if width > rank else 0.0
    return basis @ inner[:, :rank], values[:rank], right[:rank], noise


def _alternate(
    entries: Tensor, used: Tensor, rank: int, sweeps: int, tolerance: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Return the triplets by alternating least squares, and what noise of the misfit's size would have as its norm.

    The rank grows: each step adds the leading directions of what is not explained yet. All at once, the weak directions
    of the zero-filled start are noise of the strong ones, and the sweeps do not come back from there.
    """
    norm, reached = entries.square().sum(), 0
    fitted = entries.new_zeros(0, entries.shape[1])
    left = entries.new_zeros(len(entries), 0)
    while reached < rank:
        rest = used * (entries - left @ fitted)
        reached = min(rank, max(reached + 1, reached * 3 // 2))
        _, _, more, _ = _leading(rest, reached - len(fitted), generator)
        right = torch.linalg.qr(torch.cat([fitted, more]).T).Q.T
        last = reached == rank
        left, fitted, misfit = _swept(entries, used, right, sweeps if last else _GROWING_SWEEPS, tolerance)
    inner, values, right = torch.linalg.svd(fitted, full_matrices=False)
    # The largest singular value of noise of deviation s in an [O, N] matrix is s (sqrt(O) + sqrt(N)).
    deviation = float((misfit * norm / used.sum()).sqrt())
    return left @ inner, values, right, deviation * sum(side**0.5 for side in entries.shape)


def _swept(entries: Tensor, used: Tensor, right: Tensor, sweeps: int, tolerance: float) -> tuple[Tensor, Tensor, float]:
    norm, before = entries.square().sum(), 1.0
    for _ in range(sweeps):
        left = torch.linalg.qr(_given(entries.T, used.T, right.T).T).Q
        fitted = _given(entries, used, left)
        misfit = float((used * (entries - left @ fitted)).square().sum() / norm)
        right = torch.linalg.qr(fitted.T).Q.T
        if before - misfit <= tolerance * before:
            break
        before = misfit
    return left, fitted, misfit


def _given(entries: Tensor, used: Tensor, left: Tensor) -> Tensor:
    """Return the least-squares ``right [r, N]`` for orthonormal ``left [O, r]``."""
    rank = left.shape[1]
    upper = torch.triu_indices(rank, rank, device=left.device)
    pairs = used.T @ (left[:, upper[0]] * left[:, upper[1]])  # [N, r (r + 1) / 2]
    normal = left.new_empty(len(pairs), rank, rank)
    normal[:, upper[0], upper[1]] = pairs
    normal[:, upper[1], upper[0]] = pairs
    normal += _RIDGE * torch.eye(rank).to(left)
    right: Tensor = torch.linalg.solve(normal, (entries.T @ left).unsqueeze(2))
    return right.squeeze(2).T


def _spread(values: Tensor, where: Tensor) -> Tensor:
    """Put ``values [n, r]`` into the n true rows of ``where``, 0 elsewhere."""
    spread = values.new_zeros(where.numel(), values.shape[1])
    spread[where] = values
    return spread
