"""LEAF's JSON files, read one writer at a time.

A file is ``{"users": [...], "num_samples": [...], "user_data": {writer: {"x": [[...], ...], "y": [...]}, ...}}``.
LEAF's full data does not fit into memory as Python objects: only one writer's text is held and parsed.

Reference: Caldas et al., "LEAF: A Benchmark for Federated Settings", 2018, arXiv:1812.01097.
"""

import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from priprune_plugins.errors import ScenarioError

Samples = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
_CHUNK_BYTES = 1 << 20


def leaf_files(folder: Path) -> list[Path]:
    """Return the ``.json`` and ``.json.gz`` files of ``folder``, sorted; of a file in both forms only the first.

    Raises:
        ScenarioError: There is none.
    """
    plain = sorted(folder.glob("*.json"))
    zipped = [path for path in sorted(folder.glob("*.json.gz")) if path.with_suffix("") not in plain]
    if not (plain or zipped):
        raise ScenarioError(f"data.root: no .json or .json.gz file in {folder}; LEAF's preprocess.sh writes them there")
    return sorted(plain + zipped)


def count_samples(paths: Collection[Path]) -> Counter[str]:
    """Return how many samples each writer has by the headers of the files; no pixel is parsed."""
    counts: Counter[str] = Counter()
    for path in paths:
        with _opened(path) as file:
            header = _header(file)
            counts.update(dict(zip(header["users"], header["num_samples"], strict=True)))
    return counts


def read_writers(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, Samples]]:
    """Yield each wanted writer's pixels ``[n, P]`` and labels ``[n]``, in the file's order.

    Raises:
        ScenarioError: The file is damaged or not LEAF's.
    """
    with _opened(path) as file:
        _header(file)
        # A writer holds numbers only: its text ends at the first closing brace.
        while entry := file.until(b"}").lstrip(b" \t\r\n:,{").removeprefix(b"}"):
            name = json.loads(entry[: entry.index(b'"', 1) + 1])
            if name in wanted:
                yield name, _samples(json.loads(b"{" + entry + b"}")[name])


def _samples(writer: dict[str, Any]) -> Samples:
    pixels, labels = np.asarray(writer["x"], np.float32), np.asarray(writer["y"], np.int64)
    if labels.size and (pixels.ndim != 2 or labels.shape != pixels.shape[:1]):
        raise ValueError(f"x {list(pixels.shape)} and y {list(labels.shape)} do not belong together")
    return pixels, labels


def _header(file: "_Window") -> dict[str, Any]:
    """Return what stands before the writers, and leave the file there."""
    header: dict[str, Any] = json.loads(file.until(b'"user_data"') + b":{}}")
    return header


class _Window:
    """A file of bytes of which only the unread part of the last chunks is held."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self._held = b""

    def until(self, mark: bytes) -> bytes:
        """Return everything up to and including the next ``mark``.

        Raises:
            EOFError: There is no further mark.
        """
        start = 0
        while (end := self._held.find(mark, start)) < 0:
            start = max(0, len(self._held) - len(mark) + 1)
            chunk = self._file.read(_CHUNK_BYTES)
            if not chunk:
                raise EOFError("the file ends too early")
            self._held += chunk
        text, self._held = self._held[: end + len(mark)], self._held[end + len(mark) :]
        return text


@contextmanager
def _opened(path: Path) -> Iterator[_Window]:
    """Open the file, gzipped or not, and name it in whatever goes wrong while it is read."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            yield _Window(file)
    except (EOFError, OSError, zlib.error, ValueError, TypeError, LookupError) as error:
        raise ScenarioError(f"{path}: not read as LEAF's JSON: {error}; make the file again") from error
