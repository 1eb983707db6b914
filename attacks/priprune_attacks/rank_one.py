"""A rank-one matrix from some of its entries: a layer's input from an upload that lacks whatever it lacks.

At B = 1 a Linear layer's gradient is ``d (a, 1)^T``. Where the bias gradient ``d`` is shared, ``a_j = sum_i m_ij dW_ij
d_i / sum_i m_ij d_i^2`` (column-wise least squares over the entries received) gives the input exactly; that is the
first half of a sweep here, and no bias is needed, because every column may stand in for it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_LOG_SWEEPS = 30
_SIGN_SWEEPS = 10


@dataclass(frozen=True, eq=False)
class RankOne:
    """``rows [O]`` times ``columns [N]``, as well as the entries received tell them.

    Args:
        rows: ``[O]``, 0 where unknown.
        columns: ``[N]``, 0 where unknown.
        rows_known: ``[O]`` bool.
        columns_known: ``[N]`` bool.
        residual: Squared misfit over the entries used, relative to their squared norm; 0 = exactly rank one.
        error: Expected squared error of the columns from noise of the residual's size, relative to their squared norm.
        sweeps: Sweeps until nothing moved any more.
    """

    rows: Tensor
    columns: Tensor
    rows_known: Tensor
    columns_known: Tensor
    residual: float
    error: float
    sweeps: int


def complete_rank_one(matrix: Tensor, seen: Tensor, sweeps: int = 300, tolerance: float = 1e-6) -> RankOne | None:
    """Return the rank-one matrix behind ``matrix``, or None where every received entry is 0.

    A row times a column that both hold other nonzero entries cannot be 0: such a zero was rounded away, or is a
    withheld value sent as unchanged, and is left out. What is left is fitted twice. In logarithms the problem is a
    linear one without local minima, exact on connected exact entries, whichever of them are missing; that is the
    start. Alternating least squares on the entries themselves then weighs them by how well they stand out of rounding
    and noise.

    Args:
        matrix: ``[O, N]``.
        seen: ``[O, N]`` bool, which entries were received.
        sweeps: Most sweeps of alternating least squares.
        tolerance: Largest relative change of the columns at which the sweeps stop.

    Returns:
        Columns of unit norm whose sum is not negative (the sign of inputs behind a ReLU); the rows carry the scale.
    """
    nonzero = seen & (matrix != 0)
    rows, columns = nonzero.any(1), nonzero.any(0)
    if not bool(rows.any()):
        return None
    used = nonzero[rows][:, columns].double()
    entries = matrix[rows][:, columns].double() * used
    d, a = _logarithmic_start(entries, used)
    d, a, taken = _alternate(entries, used, d, a, sweeps, tolerance)
    scale = a.norm() * torch.where(a.sum() < 0, -1.0, 1.0)
    misfit = (used * (entries - d.outer(a))).square().sum()
    variance = misfit / used.sum()
    return RankOne(
        rows=_spread(d * scale, rows).to(matrix.dtype),
        columns=_spread(a / scale, columns).to(matrix.dtype),
        rows_known=rows | seen[:, columns].any(1),
        columns_known=columns | seen[rows].any(0),
        residual=float(misfit / entries.square().sum()),
        error=float((variance / (d.square() @ used)).sum() / a.square().sum()),
        sweeps=taken,
    )


def columns_given_rows(entries: Tensor, used: Tensor, d: Tensor) -> Tensor:
    """Return the least-squares columns ``[N]`` for given rows ``d [O]``, 0 where no entry says anything.

    Args:
        entries: ``[O, N]``, 0 where not used.
        used: ``[O, N]``, 1 or 0, in the dtype of ``entries``.
        d: ``[O]``.
    """
    weight = d.square() @ used
    return torch.where(weight > 0, (d @ entries) / weight.clamp_min(torch.finfo(weight.dtype).tiny), 0.0)


def _alternate(
    entries: Tensor, used: Tensor, d: Tensor, a: Tensor, sweeps: int, tolerance: float
) -> tuple[Tensor, Tensor, int]:
    for sweep in range(1, sweeps + 1):
        before = a
        a = columns_given_rows(entries, used, d)
        a = a / a.norm()
        d = columns_given_rows(entries.T, used.T, a)
        if float((a - before).norm()) < tolerance:
            return d, a, sweep
    return d, a, sweeps


def _logarithmic_start(entries: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """Fit ``log|d_i| + log|a_j|`` to the logarithms, and signs by majority."""
    logs = torch.where(used > 0, entries.abs().log(), 0.0)
    in_row, in_column = used.sum(1), used.sum(0)
    log_a = logs.sum(0) / in_column
    log_d = torch.zeros_like(in_row)
    for _ in range(_LOG_SWEEPS):
        log_d = (logs.sum(1) - used @ log_a) / in_row
        log_a = (logs.sum(0) - log_d @ used) / in_column
    signs = entries.sign()
    sign_a = torch.ones_like(log_a)
    for _ in range(_SIGN_SWEEPS):
        sign_d = _sign(signs @ sign_a)
        sign_a = _sign(sign_d @ signs)
    a = sign_a * log_a.exp()
    return sign_d * log_d.exp() * a.norm(), a / a.norm()


def _sign(votes: Tensor) -> Tensor:
    return torch.where(votes < 0, -1.0, 1.0).to(votes)


def _spread(values: Tensor, where: Tensor) -> Tensor:
    return values.new_zeros(where.shape).masked_scatter_(where, values)
