"""What client and server have in common: weights and a mask that plugins edit and that refuse what does not fit."""

from typing import ClassVar

import torch
from torch import Tensor

from priprune_plugins.layout import Layout


class LiveWeights:
    """Weights that are assigned by copy, and a mask that is assigned by reference; both check dtype and shape.

    Args:
        layout: Layout of the model.
        weights: ``[D]`` the live vector itself.
        mask: ``[D]`` bool, or None.

    Attributes:
        vector: ``[D]`` the same live weights, for the host: reading them here leaves no mark.
        taken: Whether anybody has taken hold of ``weights``, and may have changed them in place.
    """

    label: ClassVar[str]

    def __init__(self, layout: Layout, weights: Tensor, mask: Tensor | None) -> None:
        self.layout = layout
        self._weights = self.vector = weights
        self._mask = mask
        self.taken = False

    @property
    def weights(self) -> Tensor:
        """``[D]``, live."""
        self.take()
        return self._weights

    @weights.setter
    def weights(self, value: Tensor) -> None:
        self.take()
        self._weights.copy_(checked_vector(value, self.layout, self._weights.dtype, f"{self.label}.weights"))

    def take(self) -> None:
        """Note that somebody takes hold of the weights."""
        self.taken = True

    @property
    def mask(self) -> Tensor | None:
        """``[D]`` bool, True = kept, or None."""
        return self._mask

    @mask.setter
    def mask(self, value: Tensor | None) -> None:
        name = f"{self.label}.mask"
        self._mask = None if value is None else checked_vector(value, self.layout, torch.bool, name)


def checked_vector(value: Tensor, layout: Layout, dtype: torch.dtype, name: str) -> Tensor:
    """Return ``value`` if it is a ``[D]`` tensor of ``dtype``.

    Raises:
        TypeError: Not a tensor, or another dtype.
        ValueError: Another shape.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, got {value.dtype}")
    if value.shape != (layout.num_parameters,):
        raise ValueError(f"{name} must have shape [{layout.num_parameters}], got {list(value.shape)}")
    return value
