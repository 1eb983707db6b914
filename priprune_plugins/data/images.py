"""What a data set plugin gives the host."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


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
