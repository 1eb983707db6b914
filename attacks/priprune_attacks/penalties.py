"""Terms of the loss with a fixed weight, which may look at the model and at the uploads."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from priprune_attacks.priors import Prior
from priprune_plugins import Observation

Penalty = Callable[[Tensor, nn.Module, Sequence[Observation]], Tensor]
"""Maps images ``[V, R, B, C, H, W]``, the model at the victims' weights and V observations to ``[V, R]``."""


def weighted(weight: float, prior: Prior) -> Penalty:
    """Return a prior as a penalty of this weight."""
    return lambda images, model, observations: weight * prior(images)
