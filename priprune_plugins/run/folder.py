"""The run folder: made once, never shared by two runs, every file written whole or line by line."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from priprune_plugins.checkpoint.durable import replace_durably, sync, write_durably
from priprune_plugins.checkpoint.tensor_file import named_parts
from priprune_plugins.errors import ScenarioError


def refuse_existing(path: Path) -> None:
    """Refuse a run folder that is there already.

    Raises:
        ScenarioError: ``path`` exists, from another run for instance.
    """
    if path.exists():
        raise ScenarioError(f"{path} exists already: give another --out, go on with it by --resume, or remove it")


def new_folder(path: Path) -> Path:
    """Make the run folder.

    Raises:
        ScenarioError: It exists already, from another run for instance, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=False)
    except FileExistsError:
        # Another run made it since we looked: making is atomic, so exactly one of the two goes on.
        refuse_existing(path)
        raise
    except OSError as error:
        raise ScenarioError(f"cannot make the run folder {path}: {error.strerror}") from error
    return path


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON line; NaN and infinity become null, which JSON has a word for."""
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(finite(record)) + "\n")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSON-lines file; nothing where it is absent.

    A last line without its end was being written when the process died: it is left out, see :func:`mend_lines`.
    """
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines if line.endswith("\n"))


def mend_lines(path: Path) -> None:
    """Cut off a last line that was not written to its end, so that the next one does not run into it."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        kept = file.read().rfind(b"\n") + 1
        file.truncate(kept)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any] | None = None) -> None:
    """Write a safetensors file atomically, from any device, with ``about`` as JSON in its header.

    It is on the disk before it has its name: a line that speaks of it, or a checkpoint, may be written next.
    """
    # Two processes may write one entry of a shared cache at once.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    with temporary.open("wb") as file:
        for part in named_parts(tensors, None if about is None else {"about": json.dumps(about)}):
            file.write(part)
    sync(temporary)
    replace_durably(temporary, path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file so that a reader sees the old one or the new one, never a part."""
    write_text(path, json.dumps(finite(value), indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; it is on the disk before it has its name."""
    temporary = path.with_name(path.name + ".part")
    write_durably(temporary, text)
    replace_durably(temporary, path)


def finite(value: Any) -> Any:
    """Return ``value`` with every NaN and infinity replaced by None, deep."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value
