"""FEMNIST from the parquet files of flwrlabs/femnist: columns ``image`` (PNG), ``writer_id``, ``character``."""

import io
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from priprune_plugins.data.writers import WriterImages, first_writers
from priprune_plugins.errors import ScenarioError, missing_extra
from priprune_plugins.generators import generator

_BATCH_ROWS = 4096


def read_parquet(paths: list[Path], limit: int | None) -> tuple[WriterImages, WriterImages]:
    """Return training and test images of the first ``limit`` writers.

    The files know no split: of each writer's images ``int(0.9 n)``, as LEAF counts, drawn by a fixed seed and the
    writer's id, are training images; a writer's images keep the order of the files.

    Raises:
        ScenarioError: pyarrow is missing, or a file is damaged or has other columns.
    """
    files = [_open(path) for path in paths]
    counts: Counter[str] = Counter()
    for path, file in zip(paths, files, strict=True):
        for (writers,) in _rows(path, file, ["writer_id"]):
            counts.update(writers)
    chosen = first_writers(counts, limit)
    is_train = {name: _split(name, counts[name]) for name in chosen}
    kept = [int(is_train[name].sum()) for name in chosen]
    train = WriterImages.reserve(chosen, kept)
    test = WriterImages.reserve(chosen, [counts[name] - num for name, num in zip(chosen, kept, strict=True)])
    seen: Counter[str] = Counter()
    for path, file in zip(paths, files, strict=True):
        for images, writers, characters in _rows(path, file, ["image", "writer_id", "character"]):
            for image, name, label in zip(images, writers, characters, strict=True):
                if name in is_train:
                    part = train if is_train[name][seen[name]] else test
                    seen[name] += 1
                    part.add(path, name, _pixels(path, image["bytes"]), np.array([label]))
    return train.full(paths[0].parent), test.full(paths[0].parent)


def _split(writer: str, count: int) -> npt.NDArray[np.bool_]:
    """Return for each of a writer's images whether it is a training image; at least one is."""
    is_train = np.zeros(count, bool)
    order = torch.randperm(count, generator=generator(0, "femnist", writer))
    is_train[order[: max(1, int(0.9 * count))].numpy()] = True
    return is_train


def _open(path: Path) -> Any:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError as error:
        raise missing_extra(f"{path}: reading parquet", "pyarrow", "hf") from error
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{path}: not read as parquet: {error}; download it again") from error


def _rows(path: Path, file: Any, columns: list[str]) -> Iterator[list[list[Any]]]:
    """Yield lists of values, one per column, a few thousand rows at a time."""
    missing = set(columns) - set(file.schema_arrow.names)
    if missing:
        raise ScenarioError(f"{path}: no column {', '.join(sorted(missing))}; the files of flwrlabs/femnist have them")
    try:
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
            yield [batch.column(name).to_pylist() for name in columns]
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{path}: damaged: {error}; download it again") from error


def _pixels(path: Path, png: bytes) -> npt.NDArray[np.float32]:
    """Return the picture as ``[1, 784]`` in [0, 1], background 1."""
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
            grey = np.asarray(picture.convert("L"), np.float32)
            return grey.reshape(1, -1) / np.float32(255)
    except (OSError, SyntaxError, TypeError) as error:
        raise ScenarioError(f"{path}: a picture is not read as PNG: {error}; download the file again") from error
