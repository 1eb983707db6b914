"""Bytes as they would be sent: dense or sparse, whichever is smaller."""

from collections.abc import Iterable, Mapping

from torch import Tensor

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


def buffer_bytes(buffers: Mapping[str, Tensor]) -> int:
    """Return the bytes of batch-norm statistics."""
    return sum(buffer.numel() * buffer.element_size() for buffer in buffers.values())
