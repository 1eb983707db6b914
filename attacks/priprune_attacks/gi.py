"""GI: match the difference between the server's weights and the upload, knowing nothing of pruning.

Reference: Geiping, Bauermeister, Droege, Moeller, "Inverting Gradients - How easy is it to break privacy in federated
learning?", NeurIPS 2020, arXiv:2003.14053; the baseline of PriPrune's Figure 7.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from priprune_attacks.adam import Adam
from priprune_attacks.labels import LabelName, label_rule
from priprune_attacks.matching import match
from priprune_attacks.objectives import cosine, l2
from priprune_attacks.optimise import Cooling, Descent
from priprune_attacks.precision import Precision
from priprune_attacks.recipe import Recipe, not_empty, restarts
from priprune_attacks.starts import StartName
from priprune_attacks.targets import Fill, MaskRule, Reference, pseudo_gradient
from priprune_plugins import (
    Count,
    Factor,
    NonNegative,
    Observation,
    Positive,
    Progress,
    Reconstruction,
    hookimpl,
)


@dataclass(frozen=True, eq=False)
class GI:
    """Gradient inversion on the unmasked difference to the dense server weights.

    Pruned coordinates enter the difference with the server's whole weight, which buries the gradient: that is GI's
    weakness under pruning, kept as the paper has it. ``reference: broadcast`` (called gi_broadcast) compares with
    what was sent instead. Departures from Geiping et al.: restarts from a public mean image and noise; a prior that
    cools from 300 times its final strength, without which trained networks are not inverted; total variation per image
    and without a padded border; cosine decay; a contrast fitted at the end.

    Args:
        iterations: Loss evaluations per restart.
        lr: Learning rate of Adam at the start.
        sign: Give Adam the sign of the gradient, as Geiping et al. do.
        starts: Where restarts begin; each is run with each strength in ``tv``.
        tv: Strengths of the total variation prior at the end.
        heat: How many times stronger the prior is at the start, at least 1; 1 keeps it constant.
        objective: Distance to the target.
        labels: ``count`` solves for them on the last layer and searches only those that it does not tell; ``joint``
            searches all; ``both`` tries both and lets the loss decide; ``true`` is granted by the host, a stronger
            threat that the attack's name then says.
        label_guesses: Counted guesses tried at most, more than one only where the count is unsure.
        reference: Weights that the upload is compared with, at which the matching gradient is taken as well.
        mask: Coordinates that are compared: all, the known base mask, or those recovered from the upload within it.
        fill: What an absent coordinate counts: unchanged from the broadcast, or 0 at face value.
        unroll: Match several local steps by making them again on the guess, from the reference on; otherwise they count
            as one step there. One local step is the same either way.
        precision: ``bf16`` matches in bfloat16, see :mod:`priprune_attacks.precision` for its gain and its cost.
        compile: Compile the matching, see :mod:`priprune_attacks.compiled`.
        relax: Let the search move counted labels too, see :class:`priprune_attacks.recipe.Recipe`.
        contrast: Fit gain and offset of each image found to the size of the gradient, which the cosine leaves open.
        max_gib: Memory that one batch of victims and restarts may take.
        oracle: Be granted the weights that the client really started from, where a defence composes them of what the
            client withheld before: an upper bound, not an attacker, and named so.
    """

    iterations: Count = 400
    lr: Positive = 0.1
    sign: bool = True
    starts: tuple[StartName, ...] = ("mean", "uniform")
    tv: tuple[NonNegative, ...] = (3e-3, 1e-2)
    heat: Factor = 300.0
    objective: Literal["cosine", "l2"] = "cosine"
    labels: LabelName = "count"
    label_guesses: Count = 1
    reference: Reference = "dense"
    mask: MaskRule = "none"
    fill: Fill = "broadcast"
    unroll: bool = True
    precision: Precision = "fp32"
    compile: bool = False
    relax: bool = True
    contrast: bool = True
    max_gib: Positive = 2.0
    oracle: bool = False

    def __post_init__(self) -> None:
        not_empty(self, "starts", "tv")

    def recipe(self) -> Recipe:
        """Return the attack that the options describe."""
        return Recipe(
            target=partial(
                pseudo_gradient, mask=self.mask, fill=self.fill, reference=self.reference, unroll=self.unroll
            ),
            restarts=restarts(self.starts, self.tv),
            objective=cosine if self.objective == "cosine" else l2,
            labels=label_rule(self.labels, self.label_guesses),
            descent=Descent(self.iterations, self.lr, optimiser=partial(Adam, sign=self.sign), heat=Cooling(self.heat)),
            max_gib=self.max_gib,
            precision=self.precision,
            compile=self.compile,
            relaxed=self.relax,
            contrast=self.contrast and self.objective == "cosine",
        )

    @hookimpl
    def reconstruct(
        self,
        observations: Sequence[Observation],
        generator: torch.Generator,
        progress: Progress,
    ) -> list[Reconstruction]:
        """Return one reconstruction per observation, in order."""
        return match(observations, self.recipe(), generator, progress)
