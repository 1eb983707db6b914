"""Rank and log-determinant of the gradients' covariance, from inner products alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_plugins.bounds.theorem import GradientLaw

TOLERANCE = 1e-10


@dataclass(frozen=True)
class GradientSpectrum:
    """What the inner products of ``samples`` gradients say of their law.

    Args:
        law: Rank and ``Delta`` of the centred gradients' covariance.
        samples: Number of gradients; the rank is at most one less.
        mean_share: ``||mean gradient||^2`` over the mean of ``||gradient||^2``, in [0, 1]; 0 where Assumption 1 of the
            paper (mean 0) holds.
    """

    law: GradientLaw
    samples: int
    mean_share: float

    @property
    def capped(self) -> bool:
        """Whether more images could have shown a larger rank."""
        return self.law.d_star >= self.samples - 1


def gradient_spectrum(gram: Tensor, tolerance: float = TOLERANCE) -> GradientSpectrum:
    """Return rank and log-determinant of the covariance ``sum_i (g_i - mean)(g_i - mean)^T / n``.

    A departure from the paper, whose ``d*`` counts the largest sub-vector with a non-singular covariance: there are
    many such sub-vectors of the same length, each with another determinant. Here the covariance is taken on the span of
    the centred gradients, whose dimension is the same and whose determinant, the product of the eigenvalues that are
    not 0, depends on no choice and is at least that of any such sub-vector. The gradients are centred, since Assumption
    1 (mean 0) fails on real ones; centring changes no differential entropy.

    Args:
        gram: ``[n, n]`` float64 inner products of the gradients, n at least 2.
        tolerance: Eigenvalues at most this fraction of the largest count as 0.
    """
    samples = gram.shape[0]
    row_means = gram.mean(0)
    centred = gram - row_means - row_means.unsqueeze(1) + row_means.mean()
    eigenvalues = torch.linalg.eigvalsh(centred) / samples
    mean_square = float(gram.diagonal().mean())
    # Below the second number an eigenvalue is the rounding of the centring, gradients that are all equal for instance.
    noise = max(tolerance * float(eigenvalues[-1]), samples * torch.finfo(gram.dtype).eps * mean_square)
    real = eigenvalues[eigenvalues > noise]
    law = GradientLaw(real.numel(), -0.5 * float(real.log2().sum()))
    return GradientSpectrum(law, samples, float(row_means.mean()) / mean_square if mean_square > 0 else 0.0)
