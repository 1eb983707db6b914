"""Reads the safetensors files of a run folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from priprune_plugins.errors import ScenarioError


def read_tensors(path: Path, device: torch.device, *names: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a file, all or those of ``names`` that it has, and what its header says.

    Raises:
        ScenarioError: The file is absent or damaged.
    """
    with _opened(path, str(device)) as file:
        there = list(file.keys())
        wanted = [name for name in names if name in there] if names else there
        return {name: file.get_tensor(name) for name in wanted}, _about(file)


def read_about(path: Path) -> dict[str, Any]:
    """Return what a file's header says, without its tensors.

    Raises:
        ScenarioError: The file is absent or damaged.
    """
    with _opened(path, "cpu") as file:
        return _about(file)


def _about(file: Any) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((file.metadata() or {}).get("about", "{}"))
    return about


@contextmanager
def _opened(path: Path, device: str) -> Iterator[Any]:
    try:
        opened = safe_open(path, framework="pt", device=device)
    except (OSError, SafetensorError) as error:
        raise ScenarioError(f"{path}: cannot be read ({error}); run the scenario again") from error
    with opened as file:
        yield file
