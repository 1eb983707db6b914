"""Where a client trains."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Seat:
    """A model with the vector that its parameters are views of; clients use it one after another.

    Args:
        model: The local model.
        weights: ``[D]``; writing to it changes the model.
    """

    model: nn.Module
    weights: Tensor
