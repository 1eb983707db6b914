"""Coordinates that no client sent: they keep the server's own values, to the bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_plugins.simulation.aggregation import Absent


@dataclass(frozen=True, eq=False)
class Unsent:
    """What the server's weights hold where no client of a round sent a number.

    A mean of equal values differs from them in the last bits, which would drift over thousands of rounds.

    Args:
        positions: ``[n]`` int64.
        values: ``[n]`` the weights there before the aggregation.
    """

    positions: Tensor
    values: Tensor

    @classmethod
    def of(cls, present: Sequence[Tensor | None], server_weights: Tensor, policy: Absent) -> "Unsent | None":
        """Return what must be kept of a round, or None where nothing must.

        Args:
            present: Per client ``[D]`` bool, True where it sent; None = everywhere.
            server_weights: ``[D]`` dense weights of the server.
            policy: What an absent coordinate counts; ``zeros`` keeps nothing.
        """
        missing = None if policy == "zeros" else _sent_by_nobody(present)
        positions = None if missing is None else torch.nonzero(missing).squeeze(1)
        return None if positions is None or positions.numel() == 0 else cls(positions, server_weights[positions])

    def put_back_(self, weights: Tensor) -> None:
        """Set ``weights [D]`` to the kept values, in place."""
        weights[self.positions] = self.values


def _sent_by_nobody(present: Sequence[Tensor | None]) -> Tensor | None:
    """Return ``[D]`` bool, or None where some client sent everything."""
    missing: Tensor | None = None
    # A group's mask stands once for each of its clients.
    for sent in {id(sent): sent for sent in present}.values():
        if sent is None:
            return None
        missing = ~sent if missing is None else missing.logical_and_(~sent)
    return missing
