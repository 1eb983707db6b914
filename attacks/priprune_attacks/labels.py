"""Label rules: what an attack takes the labels of one observation to be, or that it searches for them.

A rule returns guesses, each ``[B]`` int64 labels or None, which leaves the labels to be searched with the images
(joint). Every guess is tried with every restart and the attack's own loss decides.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from priprune_attacks.counts import Counts, solve_counts
from priprune_attacks.last_layer import LastLayer
from priprune_attacks.targets import Target
from priprune_plugins import Observation, ScenarioError

Guesses = tuple[Tensor | None, ...]
LabelRule = Callable[[LastLayer | None, Target, Observation], Guesses]
LabelName = Literal["count", "joint", "both", "true"]

# Moving one image between classes raises the squared error by 2 where both counts came out whole.
_UNSURE = 1.0


def searched(last: LastLayer | None, target: Target, observation: Observation) -> Guesses:
    """Leave the labels to the search."""
    return (None,)


def counted(last: LastLayer | None, target: Target, observation: Observation, most: int = 1) -> Guesses:
    """Count them on the last layer, and search those that it does not tell.

    Args:
        last: The last layer, or None.
        target: What the observation says.
        observation: What the server holds.
        most: Guesses at most: after the likeliest come those that move one image between classes, nearest first, but
            only where the solution is unsure.
    """
    guesses = count_guesses(last, target, observation.num_images, most)
    return tuple(guesses) or (None,)


def counted_and_searched(last: LastLayer | None, target: Target, observation: Observation, most: int = 1) -> Guesses:
    """Try both: under a defence that withholds the largest entries the counts may be wrong or missing."""
    return (*count_guesses(last, target, observation.num_images, most), None)


def granted(last: LastLayer | None, target: Target, observation: Observation) -> Guesses:
    """Take the true labels, a stronger threat that the scenario declares by ``labels: true``."""
    if observation.labels is None:
        raise ScenarioError("labels: true needs the true labels, which only the host grants; use labels: count")
    return (observation.labels,)


def label_rule(name: LabelName, most: int = 1) -> LabelRule:
    """Return the rule of that name, with at most ``most`` counted guesses."""
    if name == "count":
        return partial(counted, most=most)
    if name == "both":
        return partial(counted_and_searched, most=most)
    return searched if name == "joint" else granted


def count_labels(last: LastLayer | None, target: Target, num_images: int) -> Tensor | None:
    """Return ``[B]`` int64 labels, sorted, or None where the last layer does not tell them."""
    return next(iter(count_guesses(last, target, num_images)), None)


def count_guesses(last: LastLayer | None, target: Target, num_images: int, most: int = 1) -> list[Tensor]:
    """Return up to ``most`` guesses of ``[B]`` int64 labels, sorted, the likeliest first.

    None come back where the labels have to be searched: there is no last Linear layer, or two or more classes are
    entirely withheld and the others do not account for all ``B`` images. One class that is entirely withheld takes
    what is left. One image needs no solving: its class alone has a negative entry, which is iDLG's rule.
    """
    if last is None:
        return []
    head = last.gradient(target)
    if num_images == 1 and bool(head.known.all()):
        return [head.logits.argmin().unsqueeze(0)]
    solution = solve_counts(last, head, num_images)
    if solution.missing:
        unknown = torch.nonzero(~head.known).squeeze(1)
        if unknown.numel() > 1:
            return []
        solution.counts[unknown] = solution.missing
    return [_as_labels(counts) for counts in [solution.counts, *_neighbours(solution, head.known, most - 1)]]


def _as_labels(counts: Tensor) -> Tensor:
    return torch.arange(counts.numel(), device=counts.device).repeat_interleave(counts.long())


def _neighbours(solution: Counts, known: Tensor, most: int) -> list[Tensor]:
    """Return the counts with one image moved, where that raises the squared error by less than ``_UNSURE``."""
    if most < 1:
        return []
    lack = solution.wanted - solution.counts
    givers = known & (solution.counts > solution.least)
    price = 2.0 * (1.0 + lack.unsqueeze(1) - lack.unsqueeze(0))  # [from, to]
    allowed = givers.unsqueeze(1) & known.unsqueeze(0)
    allowed.fill_diagonal_(False)
    price = price.where(allowed, torch.inf)
    cheapest = price.flatten().argsort(stable=True)[:most]
    moves = [divmod(int(index), len(lack)) for index in cheapest if price.flatten()[index] < _UNSURE]
    unit = torch.eye(len(lack)).to(lack)
    return [solution.counts - unit[giver] + unit[taker] for giver, taker in moves]
