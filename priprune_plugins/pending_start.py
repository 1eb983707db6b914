"""The weights that a client is to start from, before anything is written: the broadcast, with own values in places."""

import torch
from torch import Tensor

from priprune_plugins.masks import apply_, part_size


class PendingStart:
    """A load that waits, so that composing, pruning and copying can be done in the same pass.

    Args:
        weights: ``[D]`` what is written.
        received: ``[D]`` what is loaded; may be ``weights`` itself.
    """

    def __init__(self, weights: Tensor, received: Tensor) -> None:
        self._weights = weights
        self._received = received
        self._own: list[tuple[Tensor, Tensor]] = []

    @property
    def composed(self) -> bool:
        """Whether anything but the broadcast is to be loaded."""
        return bool(self._own)

    def compose(self, own: Tensor, where: Tensor) -> None:
        """Take ``own [D]`` where a bool ``where [D]`` is True, over what was taken before."""
        self._own.append((own, where))

    def write_(self, mask: Tensor | None = None, copy: Tensor | None = None) -> None:
        """Write the weights, pruned by ``mask [D]``, and the same into ``copy [D]``; both may be None.

        In parts: a vector that is written and read again while it lies in a core's cache costs no traffic.
        """
        if not self.composed and mask is None and copy is None:
            self._weights.copy_(self._received)
            return
        length, size = self._weights.numel(), part_size(self._weights)
        scratch = self._weights.new_empty(min(size, length) if self.composed else 0)
        for start in range(0, length, size):
            part = slice(start, start + size)
            weights = self._load(part, scratch)
            if mask is not None:
                apply_(weights, mask[part])
            if copy is not None:
                copy[part] = weights

    def _load(self, part: slice, scratch: Tensor) -> Tensor:
        weights, source = self._weights[part], self._received[part]
        if not self._own and source.data_ptr() != weights.data_ptr():
            weights.copy_(source)
        for own, where in self._own:
            # lerp returns its ends exactly at the weights 0 and 1, and runs several times faster than where.
            flags = scratch[: weights.numel()].copy_(where[part].view(torch.uint8))
            source = torch.lerp(source, own[part], flags, out=weights)
        return weights
