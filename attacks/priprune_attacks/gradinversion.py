"""GradInversion: gradient matching for batches, with batch-norm statistics and agreement between restarts.

Reference: Yin, Mallya, Vahdat, Alvarez, Kautz, Molchanov, "See through Gradients: Image Batch Recovery via
GradInversion", CVPR 2021, arXiv:2104.07586, equations 1 to 12.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from priprune_attacks.batch_norm import BatchNormStatistics, Source
from priprune_attacks.labels import LabelName, label_rule
from priprune_attacks.matching import match
from priprune_attacks.objectives import cosine, l2
from priprune_attacks.optimise import Descent
from priprune_attacks.penalties import weighted
from priprune_attacks.priors import group_consistency, l2_norm
from priprune_attacks.recipe import Recipe, not_empty, restarts
from priprune_attacks.starts import StartName
from priprune_attacks.targets import Fill, MaskRule, pseudo_gradient
from priprune_plugins import (
    Count,
    NonNegative,
    Observation,
    Positive,
    Progress,
    Reconstruction,
    hookimpl,
)


@dataclass(frozen=True, eq=False)
class GradInversion:
    """Several restarts of one batch that are pulled towards their mean, and towards known batch-norm statistics.

    Where the clients send batch-norm buffers, the default ``statistics: upload`` solves them for the statistics of the
    victim's own batch. That is a strong threat, stronger than the paper's running statistics (``broadcast``); the
    option stands in the record of the attack beside its figures. A model without batch norms, or buffers that do not
    travel, leaves this term out.

    Departures: the consensus of a group is its pixel-wise mean; the paper registers restarts to it by RANSAC-flow, a
    pretrained network for photographs of at least 224 pixels, which has nothing to align at 28 or 32. Images of one
    class may change places between restarts, and then the mean mixes them. Labels are counted with repetitions, where
    the paper takes the lowest entries of the last weight gradient and needs B different classes. No noise is added to
    the steps. Total variation is anisotropic, all terms are means over pixels with weights to match, and the gradient
    distance may be ``cosine``. The search may move counted labels, and under ``cosine`` contrast is fitted at the end,
    as in :class:`~priprune_attacks.gi.GI`. Restarts begin at public noise around the mean image or at uniform noise.

    Args:
        iterations: Loss evaluations per restart.
        lr: Adam's learning rate at the start, with cosine decay.
        starts: Where restarts begin.
        draws: Random draws of each start; all starts and draws are one group.
        objective: Distance to the target.
        tv: Weight of total variation.
        l2: Weight of the squared pixels.
        group: Weight of the distance to the group's mean.
        batch_norm: Weight of the batch-norm statistics.
        statistics: Where those are taken from.
        labels: As in :class:`~priprune_attacks.gi.GI`.
        mask: Coordinates that are compared.
        fill: What an absent coordinate counts.
        max_gib: Memory that one batch of victims and restarts may take; a group that does not fit is split.
    """

    iterations: Count = 300
    lr: Positive = 0.1
    starts: tuple[StartName, ...] = ("mean", "uniform")
    draws: Count = 2
    objective: Literal["cosine", "l2"] = "cosine"
    tv: NonNegative = 1e-2
    l2: NonNegative = 1e-4
    group: NonNegative = 1e-1
    batch_norm: NonNegative = 1e-1
    statistics: Source = "upload"
    labels: LabelName = "count"
    mask: MaskRule = "recovered"
    fill: Fill = "broadcast"
    max_gib: Positive = 2.0

    def __post_init__(self) -> None:
        not_empty(self, "starts")

    def recipe(self) -> Recipe:
        """Return the attack that the options describe."""
        return Recipe(
            target=partial(pseudo_gradient, mask=self.mask, fill=self.fill),
            restarts=restarts(self.starts, (self.tv,), self.draws),
            objective=cosine if self.objective == "cosine" else l2,
            penalties=(
                weighted(self.l2, l2_norm),
                weighted(self.group, group_consistency),
                BatchNormStatistics(self.batch_norm, self.statistics),
            ),
            labels=label_rule(self.labels),
            descent=Descent(self.iterations, self.lr),
            max_gib=self.max_gib,
            relaxed=True,
            contrast=self.objective == "cosine",
        )

    @hookimpl
    def reconstruct(
        self, observations: Sequence[Observation], generator: torch.Generator, progress: Progress
    ) -> list[Reconstruction]:
        """Return one reconstruction per observation, in order."""
        return match(observations, self.recipe(), generator, progress)
