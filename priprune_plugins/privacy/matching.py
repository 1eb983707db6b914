"""Which guess belongs to which image of a batch: an update says nothing about the order of its images."""

from collections import Counter

import torch
from torch import Tensor


def match(
    truth: Tensor,
    guess: Tensor,
    truth_labels: Tensor | None = None,
    guess_labels: Tensor | None = None,
) -> Tensor:
    """Return the order of guesses that makes the summed squared error least, by the Hungarian method.

    Where both labels are given and hold the same labels the same number of times, a guess is matched within its own
    class only; otherwise over the whole batch.

    Args:
        truth: ``[B, C, H, W]``.
        guess: Same shape, finite.
        truth_labels: ``[B]`` integers.
        guess_labels: ``[B]`` integers.

    Returns:
        ``[B]`` int64 permutation on the guess's device: ``guess[order][b]`` belongs to ``truth[b]``.

    Raises:
        ValueError: The shapes differ, or a guess is not finite.

    Reference:
        Kuhn, "The Hungarian Method for the Assignment Problem", Naval Research Logistics Quarterly 2, 1955.
    """
    if truth.shape != guess.shape:
        raise ValueError(f"truth {list(truth.shape)} and guess {list(guess.shape)} differ in shape")
    # Here: checking or training a scenario need not wait for scipy.
    from scipy.optimize import linear_sum_assignment

    cost = pairwise_mse(truth, guess).cpu()
    if truth_labels is not None and guess_labels is not None and same_labels(truth_labels, guess_labels):
        other_class = truth_labels.cpu().unsqueeze(1) != guess_labels.cpu().unsqueeze(0)
        # A perfect matching within classes exists; one step outside costs more than all of it.
        cost = cost + other_class * (1.0 + cost.sum())
    _, order = linear_sum_assignment(cost.numpy())
    return torch.as_tensor(order, dtype=torch.long, device=guess.device)


def pairwise_mse(truth: Tensor, guess: Tensor) -> Tensor:
    """Return the mean squared error of every pair, ``[B, B]`` float64: rows are the truth's images."""
    rows, columns = truth.double().flatten(1), guess.double().flatten(1)
    return torch.stack([(columns - row).square().mean(1) for row in rows]) if len(rows) else rows.new_zeros(0, 0)


def same_labels(first: Tensor, second: Tensor) -> bool:
    """Return whether both hold the same labels, each the same number of times, in any order."""
    return first.shape == second.shape and bool((first.cpu().sort().values == second.cpu().sort().values).all())


def label_accuracy(truth_labels: Tensor, guess_labels: Tensor) -> float:
    """Return the share of the batch's labels that were guessed, counted without order, in [0, 1].

    Order is left out because a batch has none; so the figure does not depend on how well the images came out.
    """
    truths, guesses = (Counter(labels.flatten().tolist()) for labels in (truth_labels, guess_labels))
    return (truths & guesses).total() / max(truths.total(), 1)
