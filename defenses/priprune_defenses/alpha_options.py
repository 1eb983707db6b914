"""The options that decide how PriPrune learns alpha, and what follows from them for one client."""

import math
from dataclasses import dataclass
from typing import Literal

from priprune_defenses.alpha import Objective, Penalty
from priprune_plugins import Client, NonNegative, Positive, ScenarioError

_DEFAULT_THETA = 1.3
_ADAPTIVE_LR, _ADAPTIVE_PARAMETERS = 1e3, 109_470


@dataclass(frozen=True, eq=False)
class AlphaOptions:
    """Where alpha starts, how fast it moves and towards what.

    Args:
        mode: ``adaptive``, or ``paper``: alpha itself, from exactly 0.5, at the model's learning rate.
        theta: A coordinate at alpha = 0.5 is withheld iff ``|g|`` exceeds ``theta`` times its layer's mean, whatever
            the model's size; None = 1.3 unless ``lambda_sha`` is given.
        lambda_acc: Weight of the accuracy loss in alpha's objective; the paper tries 1, 5, 10.
        lambda_pri: Weight of the privacy loss; the paper tries 1, 5, 10, 15, 20.
        lambda_sha: Weight of the sum of alphas, instead of ``theta = N * lambda_sha / (2 * lambda_pri)``; the paper
            tries 1e-4, 2e-5, 2e-6 with N = 6,603,710.
        alpha_init: Alpha before the first participation, in (0, 1); None = 0.1, or 0.5 in ``paper`` mode.
        alpha_lr: Step size of alpha; None = 1e3 per 109,470 parameters, or the model's own in ``paper`` mode.
        tau: Temperature of the Gumbel-Softmax.
        penalty: ``all``: the sum of alphas over all coordinates; ``withheld``: as printed, over the withheld ones,
            which in ``paper`` mode withholds every coordinate of nonzero gradient at once.

    Raises:
        ScenarioError: Both ``theta`` and ``lambda_sha``, or an ``alpha_init`` outside (0, 1).
    """

    mode: Literal["adaptive", "paper"] = "adaptive"
    theta: Positive | None = None
    lambda_acc: NonNegative = 1.0
    lambda_pri: Positive = 10.0
    lambda_sha: NonNegative | None = None
    alpha_init: Positive | None = None
    alpha_lr: Positive | None = None
    tau: Positive = 0.7
    penalty: Penalty = "all"

    def __post_init__(self) -> None:
        if self.theta is not None and self.lambda_sha is not None:
            raise ScenarioError(
                f"defense priprune: give theta or lambda_sha, not both, got {self.theta} and {self.lambda_sha}; "
                "leave one out"
            )
        if self.alpha_init is not None and not 0 < self.alpha_init < 1:
            raise ScenarioError(f"defense priprune: alpha_init must be between 0 and 1, got {self.alpha_init}")

    def _first_preference(self) -> float:
        alpha = self.alpha_init or (0.5 if self.mode == "paper" else 0.1)
        return alpha - 0.5 if self.mode == "paper" else math.log(alpha / (1 - alpha))

    def _alpha_lr(self, client: Client) -> float:
        if self.alpha_lr is not None:
            return self.alpha_lr
        if self.mode == "paper":
            return client.facts.lr
        return _ADAPTIVE_LR * client.layout.num_parameters / _ADAPTIVE_PARAMETERS

    def _objective(self, num_kept: int) -> Objective:
        theta = _DEFAULT_THETA if self.theta is None else self.theta
        privacy = self.lambda_pri / max(num_kept, 1)
        return Objective(
            parameterisation="raw" if self.mode == "paper" else "logit",
            lambda_acc=self.lambda_acc,
            privacy=privacy,
            lambda_sha=2 * theta * privacy if self.lambda_sha is None else self.lambda_sha,
            tau=self.tau,
            penalty=self.penalty,
        )
