"""Any torch ``Dataset`` as a data set of this project: wrap it in a plugin of three lines.

::

    @dataclass(frozen=True, eq=False)
    class FashionMnist:
        root: str = "data/fashion"

        def load(self) -> ImageData:
            train, test = (FashionMNIST(self.root, train=part, transform=ToTensor()) for part in (True, False))
            return from_datasets(train, test, num_classes=10, mean=(0.286,), std=(0.353,))
"""

from collections.abc import Sized
from typing import Protocol

import torch
from torch import Tensor

from priprune_plugins.data.images import ImageData, checked


class LabelledDataset(Sized, Protocol):
    """A map-style dataset."""

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]:
        """Return one image ``[C, H, W]`` in [0, 1] and its label."""
        ...


def from_datasets(
    train: LabelledDataset, test: LabelledDataset, num_classes: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> ImageData:
    """Return all items of two datasets, each read once, in their order.

    Args:
        train: Training images; a random transform is drawn once, here, from whatever generator it uses.
        test: Test images.
        num_classes: Number of labels.
        mean: Public constant per channel; not to be computed from the clients' images.
        std: Public constant per channel.

    Raises:
        PluginError: Images are not float32 in [0, 1], or labels are out of range.
    """
    return checked(ImageData(*_stacked(train), *_stacked(test), num_classes=num_classes, mean=mean, std=std))


def _stacked(dataset: LabelledDataset) -> tuple[Tensor, Tensor]:
    items = [dataset[index] for index in range(len(dataset))]
    return torch.stack([image for image, _ in items]), torch.tensor([int(label) for _, label in items])
