"""Reads the parts of a value that came over the network, each of its right type, or refuses the whole."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.network.frames import FrameError


def mapping(value: Any, name: str) -> dict[str, Any]:
    """Return a dictionary with texts as keys.

    Raises:
        FrameError: It is none.
    """
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise FrameError(f"{name} is no mapping")
    return value


def part(value: Mapping[str, Any], key: str) -> Any:
    """Return one entry.

    Raises:
        FrameError: There is none.
    """
    if key not in value:
        raise FrameError(f"{key} is missing")
    return value[key]


def number(value: Any, name: str) -> float:
    """Return a number, NaN and infinity among them.

    Raises:
        FrameError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FrameError(f"{name} is no number")
    return float(value)


def whole(value: Any, name: str, least: int = 0) -> int:
    """Return a whole number of at least ``least``.

    Raises:
        FrameError: It is none.
    """
    if type(value) is not int or value < least:
        raise FrameError(f"{name} is no whole number from {least} on")
    return value


def tensor(value: Any, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor of a shape, -1 standing for any size, and a dtype.

    Raises:
        FrameError: It is another.
    """
    if not isinstance(value, Tensor):
        raise FrameError(f"{name} is no tensor")
    fits = len(value.shape) == len(shape) and all(b in (-1, a) for a, b in zip(value.shape, shape, strict=True))
    if not fits or value.dtype is not dtype:
        got = f"{value.dtype} {list(value.shape)}"
        raise FrameError(f"{name} must be {dtype} {list(shape)}, got {got}".replace("torch.", ""))
    return value


def tensors(value: Any, name: str) -> dict[str, Tensor]:
    """Return a mapping from texts to tensors.

    Raises:
        FrameError: It is none.
    """
    found = mapping(value, name)
    for key, one in found.items():
        if not isinstance(one, Tensor):
            raise FrameError(f"{name}[{key[:40]!r}] is no tensor")
    return found
