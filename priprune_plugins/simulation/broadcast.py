"""What a server sends to all clients of a round, where their training is done in other processes."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from priprune_plugins.simulation.buffers import Buffers
from priprune_plugins.simulation.visits import Visit


@dataclass(frozen=True, eq=False)
class Broadcast:
    """What a process needs once for all of its clients.

    Args:
        payload: Element 0 is the broadcast ``[D]``.
        mask: ``[D]`` bool, the server's mask, or None.
        buffers: The server's batch-norm statistics.
    """

    payload: Sequence[Tensor]
    mask: Tensor | None
    buffers: Buffers

    @classmethod
    def of(cls, visit: Visit, buffers: Buffers) -> "Broadcast":
        """Return what a visit starts from, ``buffers`` being the server's."""
        return cls(visit.payload, visit.mask, buffers)

    def serves(self, visit: Visit, buffers: Buffers) -> bool:
        """Whether it is what a visit starts from; a visit without a mask needs no other broadcast."""
        same_mask = visit.mask is None or visit.mask is self.mask
        return visit.payload is self.payload and same_mask and buffers is self.buffers
