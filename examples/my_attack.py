"""An attack of one's own in 40 lines: every layer counts alike, plus a prior that likes few colours.

Run it without installing anything: ``attacks: [{name: my_attack:LayerwiseMatching}]`` with this folder on PYTHONPATH.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_attacks.matching import match
from priprune_attacks.objectives import Products
from priprune_attacks.optimise import Descent
from priprune_attacks.penalties import weighted
from priprune_attacks.recipe import Recipe, restarts
from priprune_plugins import Count, NonNegative, Observation, Progress, Reconstruction, hookimpl


def layerwise_cosine(products: Products) -> Tensor:
    """Return the mean over layers of one minus the cosine, ``[V, R]``: small layers weigh as much as large ones."""
    norms = (products.square * products.target_square).clamp_min(1e-20).sqrt()
    return 1.0 - (products.dot / norms).mean(-1)


def greyness(images: Tensor) -> Tensor:
    """Return how far pixels are from black and white, ``[..., B, C, H, W]`` to ``[...]``."""
    return (images * (1.0 - images)).mean((-1, -2, -3)).sum(-1)


@dataclass(frozen=True, eq=False)
class LayerwiseMatching:
    """Matches the direction of each layer's gradient; total variation and label counting come with the recipe."""

    iterations: Count = 300
    tv: NonNegative = 1e-2
    grey: NonNegative = 1e-3

    @hookimpl
    def reconstruct(
        self, observations: Sequence[Observation], generator: torch.Generator, progress: Progress
    ) -> list[Reconstruction]:
        recipe = Recipe(
            restarts=restarts(("mean", "black"), (self.tv,)),
            objective=layerwise_cosine,
            penalties=(weighted(self.grey, greyness),),
            descent=Descent(self.iterations),
        )
        return match(observations, recipe, generator, progress)
