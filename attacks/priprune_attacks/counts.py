"""How many images of each class are behind a gradient, solved on the last layer.

For cross-entropy the gradient of the last bias is ``g_k = mean softmax_k - n_k / B``, so that
``n_k = B (mean softmax_k - g_k)``. The mean softmax is not known to the server. Public images give a first guess of it,
which is exact after rounding where the softmax is nearly the same for all images (fresh nets of small weights), and
off by images where it is not: with He's initialisation the probabilities of one class spread by as much as their mean.

The weight gradient mends that. Its rows are ``G_k = mean_b (p_bk - y_bk) a_b`` over the inputs ``a_b`` of the layer,
so that ``s_k = sum_b p_bk a_b - B G_k`` is the sum of the inputs of class k. Divided by ``n_k`` it is the class's mean
input, whose softmax is known; that gives a better mean softmax, better counts and better sums, and so on to a fixed
point. It is exact where no class is there twice. Where classes repeat, the softmax at a mean is not the mean softmax;
a public set tells how far inputs spread about their class's mean, and most of that is corrected too.

No rule can do it on a model that fits its data: there the gradient is nearly 0 and tells little beyond one image.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priprune_attacks.last_layer import HeadGradient, LastLayer

_ROUNDS = 25
_SETTLING = 3
_DAMPING = 0.5
# From here on the mean softmax of a public set is as good on fresh nets, and better on trained ones.
_MANY_PER_CLASS = 4
# A bias gradient is a difference of float32 weights divided by the learning rate: no zero is exact.
_NOISE = 1e-3


@dataclass(frozen=True, eq=False)
class Counts:
    """The solution.

    Args:
        counts: ``[K]`` whole numbers; over the known classes they sum to ``B`` minus ``missing``.
        wanted: ``[K]`` what follows from them, whole numbers where they are right and no class is there twice.
        least: ``[K]`` what holds for any model: a class with a negative ``g_k`` is there ``ceil(-B g_k)`` times.
        missing: Images of unknown classes.
    """

    counts: Tensor
    wanted: Tensor
    least: Tensor
    missing: int


def solve_counts(last: LastLayer, head: HeadGradient, num_images: int) -> Counts:
    """Return the class counts of ``num_images`` images, 0 for unknown classes.

    The fixed point is approached with damping, and may be a cycle; of its members the one wins whose counts are
    nearest to what follows from them.
    """
    least = (-num_images * (head.logits + _NOISE)).ceil().clamp(0, num_images) * head.known
    wanted = num_images * (last.softmax - head.logits)
    solution = _rounded(wanted, least, head.known, num_images)
    if last.spread is not None and num_images >= _MANY_PER_CLASS * wanted.numel():
        return solution
    sums = _filled(num_images * (last.softmax.outer(last.features) - head.rows), solution, last, head)
    found = []
    for _ in range(_ROUNDS):
        totals, products = _class_sums(last, solution, sums)
        following = totals - num_images * head.logits
        error = ((following - solution.counts) * head.known).square().sum()
        found.append((float(error.detach()), replace(solution, wanted=following)))
        wanted = torch.lerp(wanted, following, _DAMPING)
        solution = _rounded(wanted, least, head.known, num_images)
        sums = _filled(products - num_images * head.rows, solution, last, head)
    return min(found[_SETTLING:], key=lambda pair: pair[0])[1]


def _rounded(wanted: Tensor, least: Tensor, known: Tensor, num_images: int) -> Counts:
    """Round to the nearest whole numbers from ``least`` up that, where all are known, sum to ``num_images``."""
    lower = torch.maximum(wanted, least).where(known, torch.zeros_like(wanted))
    if not bool(known.all()):
        counts = lower.round()
        missing = num_images - int(counts.sum())
        if missing >= 0:
            return Counts(counts, wanted, least, missing)
    counts = lower.floor()
    while (total := int(counts.sum())) != num_images:
        lack = wanted - counts
        if total < num_images:
            counts[lack.where(known, -torch.inf).argmax()] += 1
        else:
            # Gradients that were guessed from withheld ones can ask for more images than there are.
            spare = counts > (least if bool((counts > least).any()) else 0)
            counts[lack.where(spare, torch.inf).argmin()] -= 1
    return Counts(counts, wanted, least, 0)


def _class_sums(last: LastLayer, solution: Counts, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``sum_b p_b`` as ``[K]`` and ``sum_b p_b a_b^T`` as ``[K, I]``, each class at its mean input."""
    present = solution.counts > 0
    counts = solution.counts[present]
    means = sums[present] / counts.unsqueeze(1)
    if last.rectified:
        means = means.clamp_min(0.0)
    if last.spread is None:
        weighted = counts.unsqueeze(1) * last.probabilities(means)
        totals, products = weighted.sum(0), weighted.T @ means
    else:
        totals, products = _spread_sums(last, last.spread, counts, means)
    # Images of unknown classes count as public ones.
    unknown = solution.missing * last.softmax
    return totals + unknown, products + unknown.outer(last.features)


def _spread_sums(last: LastLayer, spread: Tensor, counts: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    """Do the same over inputs that spread about their class's mean as public ones do about theirs, and mirrored."""
    # The mean of n images is itself off by 1 / n of their variance.
    width = ((counts - 1) / counts).sqrt().view(-1, 1, 1)
    offsets = width * (spread @ last.module.weight.T)
    centre: Tensor = last.module(means).unsqueeze(1)
    ahead, behind = (centre + offsets).softmax(-1), (centre - offsets).softmax(-1)  # [present, J, K]
    weighted = counts.unsqueeze(1) * (ahead + behind).mean(1) / 2
    tilt = (counts.view(-1, 1, 1) * width * (ahead - behind)).sum(0) / (2 * len(spread))  # [J, K]
    return weighted.sum(0), weighted.T @ means + tilt.T @ spread


def _filled(sums: Tensor, solution: Counts, last: LastLayer, head: HeadGradient) -> Tensor:
    """Put what is not seen of a class at the mean of those classes where it is seen, else of public images."""
    if bool(head.seen.all()):
        return sums
    counts = solution.counts.unsqueeze(1)
    there = (counts * head.seen).sum(0)
    mean = ((sums * head.seen * (counts > 0)).sum(0) / there.clamp_min(1.0)).where(there > 0, last.features)
    return sums.where(head.seen, counts * mean)
