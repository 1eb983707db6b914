"""Analytic attack: a Linear layer's input in closed form from its gradient, then the image from that input.

No iteration touches a gradient, so nothing has to be matched: what is received of one layer's ``[weight | bias]``
gradient is completed to the low rank that it must have, taken apart into the images' inputs, and each input is inverted
through the layers before. Neither a shared bias nor the labels are needed.

Reference: Phong, Aono, Hayashi, Wang, Moriai, "Privacy-Preserving Deep Learning via Additively Homomorphic Encryption",
IEEE TIFS 2018 (one image, with bias); Mahendran, Vedaldi, CVPR 2015, arXiv:1412.0035 (features to image); what is taken
apart for more images: see :mod:`priprune_attacks.unmixing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from priprune_attacks.feature_attack import reconstruct_from_features
from priprune_attacks.features import Features, features_from_gradient
from priprune_attacks.inversion import Inversion
from priprune_attacks.optimise import Descent
from priprune_attacks.starts import StartName
from priprune_plugins import Count, NonNegative, Observation, Positive, Progress, Reconstruction, hookimpl


@dataclass(frozen=True, eq=False)
class Analytic:
    """Closed-form recovery of a Linear layer's input, and inversion of what comes before it.

    At B = 1 exact up to rounding as long as every feature is told by some nonzero entry received: whichever entries are
    withheld, biases included. Withholding the largest entries closes it only above the share of nonzero entries in
    that layer's gradient, which stands in ``notes`` as ``layer_nonzero_share``, beside ``layer_withheld_share``. At
    B > 1 exact for every image whose input to the layer is 0 where the others' are not, which ReLU features are; the
    rest are given as the public mean image, and ``notes`` says how many were found (``images_found``).

    Several local steps count as one at the broadcast, an approximation.

    Args:
        layer: Name of the Linear layer among ``model.named_modules()``; None = the first.
        iterations: Steps of the inversion for each strength in ``tv``: a forward and a single backward pass up to the
            layer each.
        lr: Learning rate of Adam at the start.
        starts: Where restarts begin.
        tv: Strengths of the total variation prior, against a distance that is 1 for a representation of nothing;
            strongest first, each goes on from the last, and the strongest is taken that fits as closely as the
            features are known.
        max_gib: Memory that one batch of images and restarts may take.
    """

    layer: str | None = None
    iterations: Count = 150
    lr: Positive = 0.1
    starts: tuple[StartName, ...] = ("mean",)
    tv: tuple[NonNegative, ...] = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 0.0)
    max_gib: Positive = 2.0

    @hookimpl
    def reconstruct(
        self, observations: Sequence[Observation], generator: torch.Generator, progress: Progress
    ) -> list[Reconstruction]:
        """Return one reconstruction per observation, in order."""
        inversion = Inversion(self.tv, Descent(self.iterations, self.lr))
        return reconstruct_from_features(
            observations, self._read, inversion, self.starts, self.max_gib, generator, progress
        )

    def _read(self, observation: Observation, model: nn.Module, generator: torch.Generator) -> Features:
        return features_from_gradient(observation, model, self.layer, generator)
