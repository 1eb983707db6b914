"""Theorem 1, Corollary 1 and Equation 23 of the PriPrune paper, in bits, term by term.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, equations 4, 5, 15, 17 to 23. The logarithm is to base 2: the paper does not name
its base, and only base 2 makes the 1 of Equation 15 the entropy of a fair coin.

Importing this module imports no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

GAUSSIAN_BITS = math.log2(2 * math.pi * math.e)
PRINTED_TERMS = ("p_term", "batch", "covariance", "gaussian")


@dataclass(frozen=True)
class GradientLaw:
    """What the bounds need to know of the law of one image's gradient.

    Args:
        d_star: Rank of its covariance, the paper's ``d*``.
        delta: The paper's ``Delta = log2 |det(Sigma^(-1/2))|``, in bits: minus half the binary logarithm of the
            covariance's determinant over the ``d_star`` dimensions where it is not singular.
    """

    d_star: int
    delta: float


@dataclass(frozen=True)
class PruneFLCounts:
    """How many parameters Equation 23 counts, in PruneFL's notation.

    Args:
        never_pruned: Size of P-bar, the parameters that are never pruned (biases, norms).
        remaining: Size of A, the prunable parameters that the mask keeps; the two sets are disjoint.
        parameters: All parameters, the paper's ``d``.
    """

    never_pruned: int
    remaining: int
    parameters: int


@dataclass(frozen=True)
class Bound:
    """A sum of named terms, in bits.

    Args:
        terms: Bits by term.
    """

    terms: Mapping[str, float]

    @property
    def total(self) -> float:
        """The sum of all terms, in bits."""
        return math.fsum(self.terms.values())


def binary_entropy(rate: float) -> float:
    """Return the entropy in bits of a coin that falls on one side with probability ``rate`` in [0, 1]."""
    return -math.fsum(share * math.log2(share) for share in (rate, 1 - rate) if share > 0)


def p_term(rate: float) -> float:
    """Return ``1 - (p - 1) / (2 ln 2)``, all that the printed bound has of the pruning rate, in bits.

    It stands for the mask's entropy per coordinate, which it exceeds at every rate: 1.07 bits at .9, where one
    coordinate of the mask has 0.47.
    """
    return 1 - (rate - 1) / (2 * math.log(2))


def theorem_1(rate: float, batch_size: int, law: GradientLaw) -> Bound:
    """Return Theorem 1 as printed: what one round leaks at most, by the paper's account.

    Args:
        rate: Base pruning rate ``p`` in [0, 1].
        batch_size: Images ``B`` whose mean gradient the round holds.
        law: Law of one image's gradient.

    Returns:
        Terms ``p_term``, ``batch = 2 log2(1/B)``, ``covariance = 2 Delta`` and ``gaussian = d* log2(2 pi e)``.
    """
    values = (p_term(rate), -2 * math.log2(batch_size), 2 * law.delta, law.d_star * GAUSSIAN_BITS)
    return Bound(dict(zip(PRINTED_TERMS, values, strict=True)))


def mended(rate: float, batch_size: int, law: GradientLaw) -> dict[str, float]:
    """Return what each mended slip of the derivation adds to Theorem 1 as printed, in bits.

    ``sign_of_sigma``: whitening gives ``g = Sigma^(1/2) z`` and not ``Sigma^(-1/2) z`` (Equation 18), so each of the
    two entropies holds ``-Delta``. ``log_b_per_dimension``: dividing a vector of ``d*`` dimensions by B lowers its
    entropy by ``d* log2 B`` and not by ``log2 B`` (Equation 17). ``covariance_of_a_sum``: a sum of B whitened gradients
    has covariance ``B I`` and not ``I`` (Equation 19), which adds ``(d*/2) log2 B`` to each entropy.
    ``mask_entropy``: ``d*`` coordinates of a mask have up to ``d* H2(p)`` bits and not ``H2(p)``, and the printed
    p-term, which exceeds even ``H2(p)``, makes way for it (Equation 15).

    Arguments as in :func:`theorem_1`.
    """
    dimensions, log_b = law.d_star, math.log2(batch_size)
    return {
        "sign_of_sigma": -4 * law.delta,
        "log_b_per_dimension": -2 * (dimensions - 1) * log_b,
        "covariance_of_a_sum": dimensions * log_b,
        "mask_entropy": dimensions * binary_entropy(rate) - p_term(rate),
    }


def corrected(rate: float, batch_size: int, law: GradientLaw) -> Bound:
    """Return Theorem 1 with the four slips of :func:`mended` put right.

    It is still no bound: ``I(X; Y) <= H(X) + H(Y)`` (Equation 13) needs ``H(X, Y) >= 0``, which differential entropies
    do not promise. A negative total, which real gradients give, says no more than that.

    Args:
        rate: Base pruning rate ``p`` in [0, 1].
        batch_size: Images ``B``.
        law: Law of one image's gradient.

    Returns:
        Terms ``mask = d* H2(p)``, ``batch = -d* log2 B``, ``covariance = -2 Delta``, ``gaussian = d* log2(2 pi e)``.
    """
    return Bound(
        {
            "mask": law.d_star * binary_entropy(rate),
            "batch": -law.d_star * math.log2(batch_size),
            "covariance": -2 * law.delta,
            "gaussian": law.d_star * GAUSSIAN_BITS,
        }
    )


def corollary_1(bound: Bound, rounds: int) -> float:
    """Return Corollary 1: ``rounds`` times the bound of one round, in bits."""
    return rounds * bound.total


def equation_23(counts: PruneFLCounts, batch_size: int, law: GradientLaw) -> tuple[Bound, Bound]:
    """Return both lines of Equation 23, Theorem 1 for PruneFL, as printed.

    The first counts ``|P-bar U A| / d``, the share of all parameters that is left, in place of ``1 - p``. The second
    counts ``|P-bar| / d`` and is printed as an upper bound of the first; it does not follow, since a union is at least
    as large as each of its parts, and is lower wherever A is not empty.

    Args:
        counts: Sizes of the sets.
        batch_size: Images ``B``.
        law: Law of one image's gradient.
    """
    common = {**theorem_1(1.0, batch_size, law).terms}
    left = (counts.never_pruned + counts.remaining, counts.never_pruned)
    first, second = (Bound({**common, "p_term": 1 + count / (2 * counts.parameters * math.log(2))}) for count in left)
    return first, second


def batch_choice(samples: int, batch_size: int) -> float | None:
    """Return ``log2 C(n, B)``: the bits that say which ``batch_size`` of ``samples`` images a batch holds.

    If a batch is drawn without replacement from just those images, nothing that is computed from it, and no upload,
    says more about it. A yardstick for the paper's figures, not one of them; None where the images do not fill a batch.
    """
    if batch_size > samples:
        return None
    ways = math.lgamma(samples + 1) - math.lgamma(batch_size + 1) - math.lgamma(samples - batch_size + 1)
    return ways / math.log(2)
