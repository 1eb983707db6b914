"""Feature inversion: the image from what a layer of the model says about it.

Reference: "Privacy-preserving Learning via Deep Net Pruning", 2020, arXiv:2003.01876, section 5.2, after Mahendran,
Vedaldi, "Understanding Deep Image Representations by Inverting Them", CVPR 2015, arXiv:1412.0035.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from priprune_attacks.feature_attack import reconstruct_from_features
from priprune_attacks.features import Features, features_from_gradient, features_sent
from priprune_attacks.inversion import Distance, Inversion
from priprune_attacks.optimise import Descent
from priprune_attacks.starts import StartName
from priprune_plugins import Count, NonNegative, Observation, Positive, Progress, Reconstruction, hookimpl


@dataclass(frozen=True, eq=False)
class FeatureInversion:
    """Model inversion from a layer's representation.

    Where the clients send a representation (split learning, the threat model of the reference), it is the output of
    ``layer`` and comes as an extra of the upload, ``client.send("representation", tensor)``, one row per image.
    Otherwise the input of a Linear layer is recovered from its gradient, as by
    :class:`~priprune_attacks.analytic.Analytic`. Departures from the reference, which gives no constants: the distance
    is relative to the representation's norm; the strength of the prior falls in stages, and the strongest that fits is
    taken.

    Args:
        layer: Name of the module, among ``model.named_modules()``; needed for a representation that is sent, None
            otherwise takes the first Linear layer.
        representation: Name of the extra.
        distance: ``l2``, or ``cosine`` for a representation whose scale is not known.
        iterations: Steps for each strength in ``tv``, a forward and a single backward pass up to the layer each.
        lr: Learning rate of Adam at the start.
        starts: Where restarts begin.
        tv: Strengths of the total variation prior, strongest first, each goes on from the last.
        max_gib: Memory that one batch of images and restarts may take.
    """

    layer: str | None = None
    representation: str = "representation"
    distance: Distance = "l2"
    iterations: Count = 150
    lr: Positive = 0.1
    starts: tuple[StartName, ...] = ("mean", "uniform")
    tv: tuple[NonNegative, ...] = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 0.0)
    max_gib: Positive = 2.0

    @hookimpl
    def reconstruct(
        self, observations: Sequence[Observation], generator: torch.Generator, progress: Progress
    ) -> list[Reconstruction]:
        """Return one reconstruction per observation, in order."""
        descent = Descent(self.iterations, self.lr)
        inversion = Inversion(self.tv, descent, distance=self.distance)
        return reconstruct_from_features(
            observations, self._read, inversion, self.starts, self.max_gib, generator, progress
        )

    def _read(self, observation: Observation, model: nn.Module, generator: torch.Generator) -> Features:
        if self.representation in observation.extras:
            return features_sent(observation, model, self.representation, self.layer)
        return features_from_gradient(observation, model, self.layer, generator)
