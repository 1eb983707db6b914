"""What one client's round leaves behind."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from priprune_plugins.messages import Batch, Upload
from priprune_plugins.simulation.batches import TrainedOn
from priprune_plugins.simulation.traffic import buffer_bytes, vector_bytes


@dataclass(frozen=True, eq=False)
class Sent:
    """An upload with what only the simulation knows of it.

    Args:
        upload: What leaves the client.
        pack: The same as the FedLab algorithm takes it.
        mask: ``[D]`` bool, the client's base mask at its upload, or None.
        present: ``[D]`` bool, True where the client sent: neither pruned nor withheld; None = everywhere.
        received: ``[D]`` the broadcast.
        start: ``[D]`` weights when training began; for ``audit/`` only.
        batches: The batches trained on; for ``audit/`` only.
        loss: Mean training loss, or None.
        withheld_rate: Withheld / coordinates that the base mask leaves.
        gradient_mass_withheld: Share of the update's L1 norm that was withheld, or None where the update is 0.
        extras_bytes: Bytes of each of the upload's extras by name, those that were let go too.
        offset: ``[D]`` what the server knows was added to each step's gradient, or None.
        sum_bytes: Bytes of all but extras that the client sent for a secure sum; None without one.
    """

    upload: Upload
    pack: list[Tensor]
    mask: Tensor | None
    present: Tensor | None
    received: Tensor
    start: Tensor
    batches: TrainedOn
    loss: float | None
    withheld_rate: float
    gradient_mass_withheld: float | None
    extras_bytes: Mapping[str, int]
    offset: Tensor | None = None
    sum_bytes: int | None = None

    def to_aggregate(self, names: Collection[str]) -> "Sent":
        """Return what the aggregation needs, so that a round does not hold every client's starts and extras at once.

        Args:
            names: Extras that the algorithm aggregates; the others go, and ``start`` becomes the broadcast.
        """
        extras = {name: extra for name, extra in self.upload.extras.items() if name in names}
        return replace(self, upload=replace(self.upload, extras=extras), start=self.received, offset=None)

    @property
    def truth(self) -> Batch:
        """The distinct images ``[B, C, H, W]`` trained on and their labels ``[B]``; for ``audit/`` only."""
        return self.batches.distinct()

    @property
    def bytes_up(self) -> int:
        """Bytes that the client sent: weights dense or sparse, or its part of a secure sum; extras; buffers."""
        extras = sum(self.extras_bytes.values())
        if self.sum_bytes is not None:
            return self.sum_bytes + extras
        weights = self.upload.weights
        present = weights.numel() if self.present is None else int(self.present.count_nonzero())
        sent = vector_bytes(weights.numel(), present, weights.element_size())
        return sent + extras + buffer_bytes(self.upload.buffers)

    @cached_property
    def finite(self) -> bool:
        """Whether everything that is sent is finite; a withheld coordinate may be anything."""
        tensors = [self.upload.weights, *self.upload.extras.values(), *self.upload.buffers.values()]
        return all(_finite(tensor, self.upload.shared) for tensor in tensors if tensor.is_floating_point())


def _finite(tensor: Tensor, shared: Tensor | None) -> bool:
    # One pass: a sum is finite only where every term is.
    if bool(torch.isfinite(tensor.sum())):
        return True
    sent = tensor if shared is None or shared.shape != tensor.shape else tensor.masked_fill(~shared, 0.0)
    return bool(torch.isfinite(sent).all())
