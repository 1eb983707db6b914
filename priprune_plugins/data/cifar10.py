"""CIFAR-10 from torchvision's folder, or any subset in the same files.

Reference: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, 2009.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from priprune_plugins.data.batches import read_batch
from priprune_plugins.data.folders import find_folder
from priprune_plugins.data.images import ImageData
from priprune_plugins.errors import ScenarioError

# Over 5,000 training images, the first 500 of each class in the original data_batch_1.
MEAN, STD = (0.4913, 0.4809, 0.4444), (0.2481, 0.2451, 0.2632)
_HINT = """download it: python -c "import torchvision; torchvision.datasets.CIFAR10('{root}', download=True)\""""


@dataclass(frozen=True, eq=False)
class Cifar10:
    """Ten kinds of things in colour, 3x32x32.

    Args:
        root: Folder that holds ``cifar-10-batches-py``, or the batch files themselves; every ``data_batch_*`` is read.
    """

    root: str = "data/cifar10"

    def load(self) -> ImageData:
        """Return the images, ``[N, 3, 32, 32]``."""
        folder = find_folder("cifar10", self.root, "cifar-10-batches-py", _HINT)
        batches = sorted(folder.glob("data_batch_*"))
        if not batches:
            raise ScenarioError(f"data.root: no data_batch_* in {folder}; {_HINT.format(root=self.root)}")
        return ImageData(*_read(batches), *_read([folder / "test_batch"]), num_classes=10, mean=MEAN, std=STD)


def _read(paths: list[Path]) -> tuple[Tensor, Tensor]:
    parts = [read_batch(path) for path in paths]
    pixels = torch.from_numpy(np.concatenate([pixels for pixels, _ in parts]))
    labels = torch.tensor([label for _, labels in parts for label in labels])
    return pixels.reshape(-1, 3, 32, 32).float().div_(255), labels
