"""What one upload says about a gradient: the pseudo-gradient, where it is known, and where it was taken.

Reference: PriPrune, Algorithm 2, lines 3 and 4, with two corrections: the sign (the paper's ``upload - previous`` is
minus a gradient) and the reference, which is the weights that the client was sent this round and not its last upload.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from priprune_attacks.local_steps import LocalSteps
from priprune_plugins import Observation

MaskRule = Literal["none", "known", "recovered"]
Fill = Literal["broadcast", "zeros"]
Reference = Literal["dense", "broadcast"]


@dataclass(frozen=True, eq=False)
class Target:
    """A gradient to be matched.

    Args:
        point: ``[D]`` weights at which the matching gradient is taken.
        gradient: ``[D]`` pseudo-gradient, 0 where ``mask`` is False.
        mask: ``[D]`` bool, the coordinates that are compared; None = all.
        steps: The local steps that the matching gradient is the mean over; one step by default, at ``point``.
    """

    point: Tensor
    gradient: Tensor
    mask: Tensor | None
    steps: LocalSteps = field(default_factory=LocalSteps)

    @property
    def as_one_step(self) -> "Target":
        """The same gradient, taken for one step's at ``point``."""
        return replace(self, steps=LocalSteps())

    @property
    def flaw(self) -> str | None:
        """Why nothing can be matched, or None."""
        if not bool(torch.isfinite(self.gradient).all() & torch.isfinite(self.point).all()):
            return "the upload or the weights hold a number that is not finite"
        if not bool(self.gradient.any()):
            return "the pseudo-gradient is zero at every compared coordinate"
        return None


def absent(observation: Observation) -> Tensor:
    """Return ``[D]`` bool: the server sent a value and got 0 back, so the client withheld or pruned the coordinate."""
    return (observation.upload == 0) & (observation.broadcast != 0)


def filled_upload(observation: Observation, fill: Fill) -> Tensor:
    """Return the upload ``[D]`` with absent coordinates unchanged from the broadcast, or at face value, 0."""
    if fill == "zeros":
        return observation.upload
    return torch.where(absent(observation), observation.broadcast, observation.upload)


def compared(observation: Observation, rule: MaskRule, fill: Fill) -> Tensor | None:
    """Return ``[D]`` bool, the coordinates that a matching attack compares, or None for all.

    Args:
        observation: What the server holds.
        rule: ``none``; ``known``: the base mask that the server set; ``recovered``: nonzero in the upload (Algorithm
            2, line 3), within the known mask where there is one.
        fill: With ``broadcast`` an absent coordinate is unknown to ``recovered`` and left out; with ``zeros`` it
            counts as trained to 0 and is compared.
    """
    if rule == "none":
        return None
    if rule == "known":
        return observation.mask
    sent = observation.upload != 0
    if fill == "zeros":
        sent = sent | (observation.broadcast != 0)
    return sent if observation.mask is None else sent & observation.mask


def pseudo_gradient(
    observation: Observation,
    mask: MaskRule = "recovered",
    fill: Fill = "broadcast",
    reference: Reference = "broadcast",
    unroll: bool = True,
) -> Target:
    """Return ``(reference - upload) / (lr * steps)``, the mean gradient over the local steps, from the reference on.

    What the server knows was added to each step's gradient, SCAFFOLD's control variates or FedDyn's memory, is
    subtracted, as much of it as a pull to the start (FedProx's, FedDyn's) leaves of each step; where steps are unrolled
    both are part of them, and where they count as one, so much less than all of them counts.

    Args:
        observation: What the server holds.
        mask: Which coordinates are compared, see :func:`compared`.
        fill: What an absent coordinate counts, see :func:`filled_upload`.
        reference: ``broadcast``, what the client was sent; ``dense``, the server's weights before its base mask.
        unroll: Match several local steps by making them again from the reference, on the guess and under the known
            base mask unless ``mask`` is ``none``, see :class:`LocalSteps`. Otherwise they count as one step at the
            reference, an approximation: weights move between steps.
    """
    point = observation.broadcast if reference == "broadcast" else observation.server_weights
    kept = compared(observation, mask, fill)
    steps = LocalSteps.of(observation, masked=mask != "none")
    unrolled, left = unroll and steps.count > 1, sum(steps.shares(steps.count))
    counted = steps.count if unrolled else left
    gradient = (point - filled_upload(observation, fill)) / (steps.lr * counted)
    if observation.offset is not None:
        gradient = gradient - observation.offset * (left / counted)
    if kept is not None:
        gradient = gradient.masked_fill_(~kept, 0.0)
    return Target(point, gradient, kept, steps) if unrolled else Target(point, gradient, kept)


def literal_target(observation: Observation) -> Target:
    """Return Algorithm 2 to the letter but for its sign: gradient at the uploaded weights, only the target masked."""
    target = pseudo_gradient(observation)
    return Target(observation.upload, target.gradient, None)
