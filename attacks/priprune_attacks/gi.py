"""GI: match the difference between the server's weights and the upload, knowing nothing of pruning.

Reference: Geiping, Bauermeister, Droege, Moeller, "Inverting Gradients - How easy is it to break privacy in federated
learning?", NeurIPS 2020, arXiv:2003.14053; the baseline of PriPrune's Figure 7.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from priprune_attacks.matching import Recipe, match, restarts
from priprune_attacks.objectives import cosine, l2
from priprune_attacks.optimise import Descent
from priprune_attacks.starts import StartName
from priprune_attacks.targets import Fill, MaskRule, Reference, pseudo_gradient
from priprune_plugins import Count, NonNegative, Observation, Positive, Reconstruction, ScenarioError, hookimpl


@dataclass(frozen=True, eq=False)
class GI:
    """Gradient inversion on the unmasked difference to the dense server weights.

    Pruned coordinates enter the difference with the server's whole weight, which buries the gradient: that is GI's
    weakness under pruning, kept as the paper has it. ``reference: broadcast`` (called gi_broadcast) compares with
    what was sent instead. Departures from Geiping et al.: restarts from a public mean image, black and noise at three
    strengths of the prior; plain Adam instead of its signed variant, unless ``sign``; total variation per image and
    without a padded border; cosine decay.

    Args:
        iterations: Loss evaluations per restart.
        lr: Learning rate of Adam at the start.
        sign: Give Adam the sign of the gradient.
        starts: Where restarts begin; each is run with each strength in ``tv``.
        tv: Strengths of the total variation prior.
        objective: Distance to the target.
        labels: ``count`` solves for them on the last layer and searches only those that it does not tell; ``joint``
            searches all.
        reference: Weights that the upload is compared with, at which the matching gradient is taken as well.
        mask: Coordinates that are compared: all, the known base mask, or those recovered from the upload within it.
        fill: What an absent coordinate counts: unchanged from the broadcast, or 0 at face value.
        max_gib: Memory that one batch of victims and restarts may take.
    """

    iterations: Count = 300
    lr: Positive = 0.1
    sign: bool = False
    starts: tuple[StartName, ...] = ("mean", "black", "uniform")
    tv: tuple[NonNegative, ...] = (1e-4, 1e-2, 1e-1)
    objective: Literal["cosine", "l2"] = "cosine"
    labels: Literal["count", "joint"] = "count"
    reference: Reference = "dense"
    mask: MaskRule = "none"
    fill: Fill = "broadcast"
    max_gib: Positive = 2.0

    def __post_init__(self) -> None:
        for name, values in (("starts", self.starts), ("tv", self.tv)):
            if not values:
                raise ScenarioError(
                    f"attack {type(self).__name__.lower()}: {name} must hold at least one value, got []"
                )

    def recipe(self) -> Recipe:
        """Return the attack that the options describe."""
        return Recipe(
            target=partial(pseudo_gradient, mask=self.mask, fill=self.fill, reference=self.reference),
            restarts=restarts(self.starts, self.tv),
            objective=cosine if self.objective == "cosine" else l2,
            search_labels=self.labels == "joint",
            descent=Descent(self.iterations, self.lr, sign=self.sign),
            max_gib=self.max_gib,
        )

    @hookimpl
    def reconstruct(
        self,
        observations: Sequence[Observation],
        generator: torch.Generator,
        progress: Callable[[float], None],
    ) -> list[Reconstruction]:
        """Return one reconstruction per observation, in order."""
        return match(observations, self.recipe(), generator, progress)
