"""Bytes as they would be sent: dense or sparse, whichever is smaller."""

from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from priprune_plugins.messages import Upload

_INDEX_BYTES = 4


def vector_bytes(length: int, present: int, item_bytes: int) -> int:
    """Return the bytes of a vector of which ``present`` of ``length`` numbers are sent.

    A sparse payload names its positions by a bitmap or by 32-bit indices, whichever is smaller.
    """
    positions = min(-(-length // 8), _INDEX_BYTES * present)
    return min(length * item_bytes, present * item_bytes + positions)


def tensor_bytes(tensors: Iterable[Tensor], length: int, present: int) -> int:
    """Return the bytes of tensors, those of ``length`` numbers counted with ``present`` of them."""
    return sum(
        vector_bytes(length, present, tensor.element_size())
        if tensor.numel() == length
        else tensor.numel() * tensor.element_size()
        for tensor in tensors
    )


def extras_bytes(upload: Upload) -> dict[str, int]:
    """Return the bytes of the upload's extras by name.

    A mask travels as one bit a parameter; of a vector of ``D`` numbers what is sent and is not 0 counts.
    """
    length, shared = upload.weights.numel(), upload.shared
    return {name: _extra_bytes(extra, length, shared) for name, extra in upload.extras.items()}


def summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of several counts by name, in order of names."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))


def _extra_bytes(extra: Tensor, length: int, shared: Tensor | None) -> int:
    if extra.dtype == torch.bool:
        return -(-extra.numel() // 8)
    if extra.numel() != length:
        return extra.numel() * extra.element_size()
    sent = extra if shared is None else extra.masked_fill(~shared, 0)
    return vector_bytes(length, int(sent.count_nonzero()), extra.element_size())


def buffer_bytes(buffers: Mapping[str, Tensor]) -> int:
    """Return the bytes of batch-norm statistics."""
    return sum(buffer.numel() * buffer.element_size() for buffer in buffers.values())
