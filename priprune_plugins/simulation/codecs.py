"""What an algorithm's upload means: which element holds the weights, in which form, and what lies beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from priprune_plugins.masks import applied


@dataclass(frozen=True)
class Codec:
    """Reads and writes the list of tensors that a FedLab trainer uploads.

    Args:
        form: ``weights`` where element 0 is ``w_local``, ``update`` where it is ``w_local - w_received``.
        extras: Names of the elements after the first.
        vectors: Those extras that have one number per parameter: they are withheld and pruned like the weights.
        uniform: Those extras that are averaged without sample weights.
    """

    form: Literal["weights", "update"] = "weights"
    extras: tuple[str, ...] = ()
    vectors: frozenset[str] = frozenset()
    uniform: frozenset[str] = frozenset()

    def weights(self, pack: Sequence[Tensor], received: Tensor) -> Tensor:
        """Return the weights ``[D]`` that ``pack`` stands for; for the form ``weights`` the very same tensor."""
        return pack[0] if self.form == "weights" else received + pack[0]

    def named_extras(self, pack: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the elements after the first by name."""
        return dict(zip(self.extras, pack[1:], strict=True))

    def encode(
        self, pack: Sequence[Tensor], before: Tensor, after: Tensor, extras: Mapping[str, Tensor], received: Tensor
    ) -> list[Tensor]:
        """Return the pack for weights that a plugin may have changed.

        Unchanged weights keep their bytes: going through an update and back would change the last bits.

        Args:
            pack: What the trainer gave.
            before: Weights decoded from ``pack``.
            after: Weights to send; ``before`` itself where nobody changed them.
            extras: Extras to send, by name.
            received: ``[D]`` the broadcast.
        """
        first = pack[0]
        if after is not before:
            first = after if self.form == "weights" else after - received
        return [first, *(extras[name] for name in self.extras)]

    def masked(self, payload: Sequence[Tensor], mask: Tensor | None) -> list[Tensor]:
        """Return a downlink payload with the pruned coordinates of every parameter-sized element exactly 0."""
        size = payload[0].shape
        return [applied(element, mask) if element.shape == size else element for element in payload]
