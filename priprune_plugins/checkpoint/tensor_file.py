"""The bytes of a safetensors file, tensor by tensor and without a copy of any.

The safetensors package's own writer copies every tensor twice, which takes several times as long.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.tensor_bytes import flat_bytes

# In the order in which the package sorts what it writes, widest last.
DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
_RANKS = {dtype: rank for rank, dtype in enumerate(DTYPES)}


def named_parts(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Yield the same bytes as ``safetensors.torch.save_file`` writes, in buffers.

    Args:
        tensors: By name, on any device.
        metadata: Texts in the header.

    Raises:
        TypeError: A tensor's dtype has no word in the format.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise TypeError(f"{name} is a tensor of {tensor.dtype}, which a safetensors file has no word for")
    order = sorted(tensors, key=lambda name: (-_RANKS[tensors[name].dtype], name))
    yield header([(name, tensors[name]) for name in order], metadata)
    for name in order:
        yield buffer(tensors[name])


def header(named: Sequence[tuple[str, Tensor]], metadata: Mapping[str, str] | None) -> bytes:
    """Return what stands before the tensors, which follow in the order given; wide dtypes come first."""
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    start = 0
    for name, tensor in named:
        stop = start + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def buffer(tensor: Tensor) -> Any:
    """Return a tensor's bytes; of a contiguous one on the CPU its own memory."""
    return flat_bytes(tensor).numpy().data
