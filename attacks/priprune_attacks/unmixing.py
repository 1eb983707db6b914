"""Single inputs out of their span: what one gradient gives of a whole batch.

The rows of a Linear layer's gradient span the inputs of the batch, but as mixtures. Behind a ReLU the inputs are not
negative, and each is exactly 0 where the others are not. Among all non-negative mixtures of unit sum, a polytope in as
many dimensions as there are images, each input is therefore a corner; a linear programme finds a corner.

Reference: Chan, Ma, Chi, Wang, "A Convex Analysis Framework for Blind Separation of Non-Negative Sources", IEEE
Transactions on Signal Processing 56(10), 2008 (corners by linear programming); that a batch's inputs can be separated
at all: Kariyappa et al., "Cocktail Party Attack", ICML 2023, arXiv:2209.05578 (by independent components), and
Dimitrov et al., "SPEAR: Exact Gradient Inversion of Batches in Federated Learning", NeurIPS 2024, arXiv:2403.03945
(by the zeros of the output gradients, where this uses those of the inputs).
"""

from collections.abc import Generator

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

# Rounding of a float32 upload, relative to a column's norm.
_SLACK = 1e-6
_DEVIATIONS = 3.0
_EMPTY = 1e-6
# Corners this close, relative to their norm, are one.
_SAME = 1e-3


def corners(span: Tensor, tries: int, generator: torch.Generator, error: float = 0.0) -> Generator[Tensor, bool]:
    """Yield mixtures ``u [r]`` whose ``u @ span`` is a corner; ``send(True)`` keeps one, so that no later one is it.

    Directions are drawn across what has been kept: a kept corner has height 0 in them, so the highest and the lowest
    corner are others, until as many are kept as there are dimensions.

    Args:
        span: ``[r, N]`` float64, any basis of the inputs' span.
        tries: Directions drawn at most.
        generator: CPU generator of the directions.
        error: Expected error of the span's entries; mixtures may lie as far below 0 as such errors reach.

    Yields:
        ``[r]`` float64 on the span's device, of unit mean over the nonzero columns.
    """
    columns = span.cpu().numpy()
    norms = np.linalg.norm(columns, axis=0)
    columns = columns[:, norms > _EMPTY * norms.max()]
    # A mixture of unit mean has a norm of about sqrt(N), by which it multiplies errors.
    slack = max(_SLACK * float(norms.max()), _DEVIATIONS * error * columns.shape[1] ** 0.5)
    kept = np.zeros((0, len(columns)))
    for _ in range(tries):
        direction = torch.randn(len(columns), generator=generator, dtype=torch.float64).numpy()
        for sign in (1.0, -1.0):
            across = sign * (direction - np.linalg.pinv(kept) @ (kept @ direction))
            corner = _corner(columns, across, slack)
            if corner is None or _is_among(kept, corner):
                continue
            if (yield torch.from_numpy(corner).to(span)):
                kept = np.vstack([kept, corner])
            if len(kept) == len(columns):
                return


def _corner(columns: np.ndarray, direction: np.ndarray, slack: float) -> "np.ndarray | None":
    """Return the mixture that is farthest along ``direction``, or None where the programme has no answer."""
    answer = linprog(
        -direction,
        A_ub=-columns.T,
        b_ub=np.full(columns.shape[1], slack),
        A_eq=columns.mean(1, keepdims=True).T,
        b_eq=[1.0],
        bounds=(None, None),
        method="highs",
    )
    return answer.x if answer.status == 0 else None


def _is_among(kept: np.ndarray, corner: np.ndarray) -> bool:
    distances = np.linalg.norm(kept - corner, axis=1)
    return bool((distances < _SAME * np.linalg.norm(corner)).any())
