"""Tensors on their way through Ray: as arrays, which it moves without pickling their numbers."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from priprune_plugins.tensor_bytes import flat_bytes

# The bytes ``[n]``, dtype, shape, and whether a GPU had them.
Sent = tuple[NDArray[np.uint8], torch.dtype, tuple[int, ...], bool]


@cache
def travel_as_arrays() -> None:
    """Let Ray send tensors of this process as arrays; a tensor of a GPU arrives on a GPU."""
    from ray.util import register_serializer

    register_serializer(Tensor, serializer=_sent, deserializer=_received)


def _sent(tensor: Tensor) -> Sent:
    # As bytes: numpy does not know every dtype.
    return flat_bytes(tensor).numpy(), tensor.dtype, tuple(tensor.shape), tensor.is_cuda


def _received(sent: Sent) -> Tensor:
    values, dtype, shape, was_cuda = sent
    # A copy: Ray's memory is read-only, and others read it.
    tensor = torch.from_numpy(values.copy()).view(dtype).view(shape) if values.size else torch.empty(shape, dtype=dtype)
    return tensor.cuda() if was_cuda else tensor
