"""MNIST from torchvision's folder, or any subset in the same files.

Reference: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE 1998.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from priprune_plugins.data.folders import find_folder
from priprune_plugins.data.idx import read_idx
from priprune_plugins.data.images import ImageData
from priprune_plugins.errors import ScenarioError

# Over the 60,000 training images.
MEAN, STD = (0.1307,), (0.3081,)
_HINT = """download it: python -c "import torchvision; torchvision.datasets.MNIST('{root}', download=True)\""""


@dataclass(frozen=True, eq=False)
class Mnist:
    """Ten handwritten digits, 1x28x28; ink 1, background 0.

    Args:
        root: Folder that holds ``MNIST/raw``, or the idx files themselves, gzipped or not.
    """

    root: str = "data/mnist"

    def load(self) -> ImageData:
        """Return the images, ``[N, 1, H, W]``."""
        folder = find_folder("mnist", self.root, "MNIST/raw", _HINT)
        train, test = _read(folder, "train"), _read(folder, "t10k")
        return ImageData(*train, *test, num_classes=10, mean=MEAN, std=STD)


def _read(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    images = read_idx(folder / f"{part}-images-idx3-ubyte")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte")
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ScenarioError(
            f"{folder}: {part} images {list(images.shape)} and labels {list(labels.shape)} do not belong together; "
            "download them again"
        )
    if labels.size and labels.max() > 9:
        raise ScenarioError(f"{folder}: {part} labels must be 0 to 9, got {labels.max()}; download them again")
    return torch.from_numpy(images.copy()).unsqueeze(1).float().div_(255), torch.from_numpy(labels.copy()).long()
