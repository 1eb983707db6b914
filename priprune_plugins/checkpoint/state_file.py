"""One file for one nested value: safetensors, the structure as JSON in its metadata, known by its sha256.

The file is written tensor by tensor while it is hashed. Reading maps the file: tensors are pages of it until they are
written to, and writing to them never reaches the file.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from priprune_plugins.checkpoint.plain import Packed, UnsavableError, pack, unpack
from priprune_plugins.checkpoint.tensor_file import DTYPES, buffer, header

_CHUNK = 2**20


class DamagedFileError(Exception):
    """A file is gone, or is not what was written; the message says which and what."""


def write_state(path: Path, value: Any, name: str) -> str:
    """Write a nested value and return the file's sha256; the file is not yet forced to the disk.

    Args:
        path: The file; written in place.
        value: See :func:`~priprune_plugins.checkpoint.plain.pack`.
        name: How an error names the value.

    Raises:
        UnsavableError: Something in ``value`` has no place in a file; nothing is written then.
    """
    packed = pack(value, name)
    header, order = _header(packed, name)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in (header, *(buffer(packed.tensors[index]) for index in order)):
            digest.update(part)
            file.write(part)
    return digest.hexdigest()


def _header(packed: Packed, name: str) -> tuple[bytes, Sequence[int]]:
    for tensor in packed.tensors:
        if tensor.dtype not in DTYPES:
            raise UnsavableError(f"{name} holds a tensor of {tensor.dtype}")
    # Wide types first: every tensor then begins at a multiple of its own width, which mapping needs.
    order = sorted(range(len(packed.tensors)), key=lambda index: -packed.tensors[index].element_size())
    named = [(str(index), packed.tensors[index]) for index in order]
    return header(named, {"document": json.dumps(packed.document)}), order


def read_state(path: Path, sha256: str, device: torch.device) -> Any:
    """Return the value of a file whose bytes are exactly those that were written.

    Args:
        path: The file.
        sha256: What :func:`write_state` gave.
        device: Where tensors go that did not lie on the CPU.

    Raises:
        DamagedFileError: The file is gone, or a byte of it differs.
    """
    check_hash(path, sha256)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = [file.get_tensor(str(index)) for index in range(len(file.keys()))]
            document = json.loads(file.metadata()["document"])
        return unpack(Packed(document, tensors), device)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedFileError(f"{path} was not written by a checkpoint: {error}") from error


def check_hash(path: Path, sha256: str) -> None:
    """Compare a file with its sha256.

    Raises:
        DamagedFileError: The file is gone, or a byte of it differs.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(_CHUNK):
                digest.update(part)
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}") from error
    if digest.hexdigest() != sha256:
        raise DamagedFileError(f"{path} is damaged: its sha256 is not the one written down")
