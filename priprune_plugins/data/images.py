"""What a data set plugin gives the host."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from priprune_plugins.errors import PluginError


@dataclass(frozen=True, eq=False)
class ImageData:
    """A labelled image set in two parts, with its natural owners where it has them.

    A data set plugin is a frozen dataclass of options with ``load() -> ImageData``.

    Args:
        train_images: ``[N, C, H, W]`` float32 in [0, 1].
        train_labels: ``[N]`` int64 in ``0 .. num_classes - 1``.
        test_images: ``[M, C, H, W]`` float32 in [0, 1].
        test_labels: ``[M]`` int64.
        num_classes: Number of labels.
        mean: Public constant that models subtract, one per channel.
        std: Public constant that models divide by, one per channel.
        train_writers: ``[N]`` int64 index into ``writers``, or None without natural owners.
        test_writers: ``[M]`` int64, or None.
        writers: Names of the natural owners, sorted.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train_writers: Tensor | None = None
    test_writers: Tensor | None = None
    writers: Sequence[str] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width


class DatasetPlugin(Protocol):
    """A frozen dataclass of options."""

    def load(self) -> ImageData:
        """Read the images from disk; never download."""
        ...


def checked(data: ImageData) -> ImageData:
    """Return ``data`` if it keeps the promises of :class:`ImageData`.

    Raises:
        PluginError: Shapes, dtypes, the range of pixels or of labels are others, or a part is empty.
    """
    parts = {"train": (data.train_images, data.train_labels, data.train_writers)}
    parts["test"] = (data.test_images, data.test_labels, data.test_writers)
    for name, (images, labels, writers) in parts.items():
        _check_images(name, images, data.train_images.shape[1:])
        _check_indices(f"{name}_labels", labels, len(images), data.num_classes)
        if data.train_writers is not None:
            _check_indices(f"{name}_writers", writers, len(images), len(data.writers))
    return data


def _check_images(name: str, images: Tensor, image_shape: torch.Size) -> None:
    if images.dtype != torch.float32 or images.dim() != 4 or len(images) == 0 or images.shape[1:] != image_shape:
        got = f"{images.dtype} {list(images.shape)}"
        raise PluginError(f"data set: {name}_images must be torch.float32 [N, C, H, W], N at least 1, got {got}")
    low, high = images.aminmax()
    # Written so that NaN fails too.
    if not (low >= 0 and high <= 1):
        raise PluginError(f"data set: {name}_images must be in [0, 1], got {low:g} to {high:g}")


def _check_indices(name: str, values: Tensor | None, count: int, limit: int) -> None:
    if values is None or values.dtype != torch.int64 or values.shape != (count,):
        got = "None" if values is None else f"{values.dtype} {list(values.shape)}"
        raise PluginError(f"data set: {name} must be torch.int64 [{count}], got {got}")
    low, high = values.aminmax()
    if low < 0 or high >= limit:
        raise PluginError(f"data set: {name} must be in 0 .. {limit - 1}, got {low} to {high}")
