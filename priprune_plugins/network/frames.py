"""Frames: values and tensors as bytes, without pickle, and checked before anything is made of them.

A frame is the length of its header as four bytes, the header as JSON, and the bytes of its tensors, in the order in
which the header describes them; bools go eight to a byte. The header names no class, so that reading one can make
nothing but tensors, numbers, texts, lists, tuples and dictionaries.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from priprune_plugins.checkpoint.plain import Packed, pack, unpack
from priprune_plugins.tensor_bytes import flat_bytes

LENGTH_BYTES = 4
HEADER_BYTES = 2**20
_DIMENSIONS = 8
_TENSORS = 4096
_NESTED = 100
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(rb"[\[\]{}]")
_DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class FrameError(Exception):
    """What came is no frame, or not one that may come now; the message says why."""


@dataclass(frozen=True, eq=False)
class Frame:
    """What the other side sent.

    Args:
        kind: What it is.
        value: What it says; tensors are on the CPU.
    """

    kind: str
    value: Any


def encoded(kind: str, value: Any = None) -> list[memoryview]:
    """Return a frame in parts to be sent one after the other; tensors on the CPU are not copied, bools are packed.

    Args:
        kind: What the frame is.
        value: See :func:`~priprune_plugins.checkpoint.plain.pack`.
    """
    packed = pack(value, kind)
    described = [[_NAMES[tensor.dtype], list(tensor.shape)] for tensor in packed.tensors]
    header = json.dumps({"kind": kind, "document": packed.document, "tensors": described}).encode()
    if len(header) > HEADER_BYTES:
        raise FrameError(f"{kind} has a header of {len(header)} bytes, at most {HEADER_BYTES} are allowed")
    first = len(header).to_bytes(LENGTH_BYTES, "big") + header
    return [memoryview(first), *(_bytes(tensor) for tensor in packed.tensors if tensor.numel())]


def _bytes(tensor: Tensor) -> memoryview:
    values = flat_bytes(tensor).numpy()
    return np.packbits(values).data if tensor.dtype is torch.bool else values.data


@dataclass(frozen=True, eq=False)
class Header:
    """What a frame's header announces.

    Args:
        kind: What the frame is.
        document: Its value, tensors by number.
        tensors: Dtype and shape of each.
    """

    kind: str
    document: Any
    tensors: Sequence[tuple[torch.dtype, tuple[int, ...]]]

    @classmethod
    def of(cls, text: bytes) -> "Header":
        """Read a header.

        Raises:
            FrameError: It is none.
        """
        try:
            if _depth(text) > _NESTED:
                raise FrameError("a header that is none of ours")
            found = json.loads(text)
            kind, document, tensors = found["kind"], found["document"], found["tensors"]
            if not isinstance(kind, str) or len(tensors) > _TENSORS:
                raise FrameError("a header that is none of ours")
            return cls(kind[:40], document, [_described(*one) for one in tensors])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FrameError("a header that is none of ours") from error

    @property
    def num_bytes(self) -> int:
        """Bytes of memory that its tensors will take."""
        return sum(math.prod(shape) * dtype.itemsize for dtype, shape in self.tensors)

    def empty(self) -> list[tuple[Tensor, memoryview]]:
        """Return memory for each tensor, with the bytes that it is read into."""
        return [_memory(dtype, shape) for dtype, shape in self.tensors]

    def frame(self, memory: Sequence[tuple[Tensor, memoryview]]) -> Frame:
        """Return the frame, its bytes being read.

        Raises:
            FrameError: The value is no value of ours.
        """
        tensors = [_unpacked(tensor, bits) for tensor, bits in memory]
        try:
            return Frame(self.kind, unpack(Packed(self.document, tensors), torch.device("cpu")))
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise FrameError(f"a value of {self.kind} that is none of ours") from error


def _depth(text: bytes) -> int:
    """Return how deep brackets nest: Python's own reader goes to the end of its stack before it gives up."""
    brackets = _BRACKETS.findall(_STRINGS.sub(b"", text))
    return max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0)


def _described(name: Any, shape: Any) -> tuple[torch.dtype, tuple[int, ...]]:
    whole = isinstance(shape, list) and all(type(size) is int and 0 <= size < 2**40 for size in shape)
    if not whole or len(shape) > _DIMENSIONS:
        raise FrameError("a tensor of no shape")
    return _DTYPES[name], tuple(shape)


def _memory(dtype: torch.dtype, shape: tuple[int, ...]) -> tuple[Tensor, memoryview]:
    tensor = torch.empty(shape, dtype=dtype)
    if dtype is torch.bool:
        return tensor, np.empty(-(-tensor.numel() // 8), dtype=np.uint8).data
    return tensor, tensor.reshape(-1).view(torch.uint8).numpy().data


def _unpacked(tensor: Tensor, bits: memoryview) -> Tensor:
    if tensor.dtype is not torch.bool:
        return tensor
    flags = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=tensor.numel())
    return torch.from_numpy(flags).view(torch.bool).reshape(tensor.shape)
