"""From nested values to JSON and a list of tensors, and back: all that may stand in a checkpoint.

No class is ever named in a file, so that reading one can make nothing but the types below.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor


class UnsavableError(TypeError):
    """A value is of a type that no checkpoint holds; the message names it."""


@dataclass
class Packed:
    """A value as JSON, its tensors apart.

    Args:
        document: What ``json.dumps`` takes.
        tensors: In the order in which ``document`` numbers them.
    """

    document: Any = None
    tensors: list[Tensor] = field(default_factory=list)


def pack(value: Any, name: str) -> Packed:
    """Return ``value`` in parts that can be written; tensors are not copied.

    Args:
        value: None, bool, numbers, text, tensors, numpy arrays; lists, tuples and dictionaries of these. A tensor that
            is met twice is one tensor again when it is read.
        name: How an error names the value.

    Raises:
        UnsavableError: Something else stands in it.
    """
    packed = Packed()
    packed.document = _Packer(packed.tensors).document(value, name)
    return packed


class _Packer:
    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors = tensors
        self._places: dict[int, int] = {}

    def document(self, value: Any, name: str) -> Any:
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return float(value)
        if isinstance(value, np.generic):
            return self.document(value.item(), name)
        if isinstance(value, Tensor):
            return {"tensor": self._place(value, name), "device": value.device.type}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            return {"array": self._place(torch.from_numpy(value), name)}
        return self._container(value, name)

    def _container(self, value: Any, name: str) -> Any:
        if type(value) is list:
            return self._items(value, name)
        if type(value) in (tuple, torch.Size):
            return {"tuple": self._items(value, name)}
        if type(value) in (dict, OrderedDict):
            return {"map": [[_key(key, name), self.document(item, f"{name}[{key!r}]")] for key, item in value.items()]}
        raise UnsavableError(f"{name} is a {type(value).__name__}")

    def _items(self, values: Any, name: str) -> list[Any]:
        return [self.document(item, f"{name}[{index}]") for index, item in enumerate(values)]

    def _place(self, tensor: Tensor, name: str) -> int:
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise UnsavableError(f"{name} is a {tensor.layout} tensor")
        if id(tensor) not in self._places:
            # The list keeps the tensor alive, so that no other one can take its id.
            self._places[id(tensor)] = len(self._tensors)
            self._tensors.append(tensor)
        return self._places[id(tensor)]


def _key(key: Any, name: str) -> str | int:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise UnsavableError(f"a key of {name} is a {type(key).__name__}")
    return key


def unpack(packed: Packed, device: torch.device) -> Any:
    """Return the value that was packed.

    Args:
        packed: From :func:`pack`.
        device: Where tensors go that did not lie on the CPU.

    Raises:
        ValueError: The document was not made by :func:`pack`.
    """
    places: dict[int, Tensor] = {}

    def tensor(index: int, kind: str) -> Tensor:
        found = packed.tensors[index]
        return places.setdefault(index, found if kind == "cpu" else found.to(device))

    def value(document: Any) -> Any:
        if isinstance(document, list):
            return [value(item) for item in document]
        if not isinstance(document, dict):
            return document
        match document:
            case {"tensor": int(index), "device": str(kind)}:
                return tensor(index, kind)
            case {"array": int(index)}:
                return packed.tensors[index].numpy()
            case {"tuple": list(items)}:
                return tuple(value(item) for item in items)
            case {"map": list(entries)}:
                return {key: value(item) for key, item in entries}
        raise ValueError(f"a document holds {sorted(document)}")

    return value(packed.document)
