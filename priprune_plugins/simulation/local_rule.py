"""What a trainer's local steps compute, said so that somebody else can carry them out for many clients at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from priprune_plugins.messages import Client


@dataclass(frozen=True, eq=False)
class LocalRule:
    """Steps of plain SGD: ``w -= lr * (g + proximal * (w - start) + offset)``, ``g`` of the mean cross-entropy.

    Args:
        proximal: Strength ``mu`` of the pull to the weights that training started from.
    """

    proximal: float = 0.0

    def offset(self, trainer: Any, payload: Sequence[Tensor], client_id: int) -> Tensor | None:
        """Return what is added to each step's gradient, ``[D]``, or None; called before training."""
        return None

    def pack(self, trainer: Any, payload: Sequence[Tensor], client: Client, lr: float) -> list[Tensor]:
        """Return what the trainer uploads of a client that has trained, and let the trainer remember its round."""
        return [client.vector.clone()]
