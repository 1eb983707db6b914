"""FEMNIST: handwritten digits and letters of many writers, as LEAF's JSON or as the parquet of flwrlabs/femnist.

Reference: Caldas et al., "LEAF: A Benchmark for Federated Settings", 2018, arXiv:1812.01097.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from priprune_plugins.data.femnist_parquet import read_parquet
from priprune_plugins.data.folders import find_folder
from priprune_plugins.data.images import ImageData
from priprune_plugins.data.leaf import count_samples, leaf_files, read_writers
from priprune_plugins.data.writers import WriterImages, first_writers
from priprune_plugins.errors import ScenarioError
from priprune_plugins.options import Count

NUM_CLASSES = 62
# Over 37,014 training images of 264 writers, ink 1.
MEAN, STD = (0.0386,), (0.1643,)
_HINT = (
    "make it with LEAF (github.com/TalwalkarLab/leaf, data/femnist: ./preprocess.sh -s niid --sf 0.05 -k 0 -t sample) "
    "and give its folder with train/ and test/, or: hf download flwrlabs/femnist --repo-type dataset --local-dir {root}"
)


@dataclass(frozen=True, eq=False)
class Femnist:
    """62 classes, 1x28x28: 0 to 9, ``A`` to ``Z``, ``a`` to ``z``; the natural clients are the writers.

    Writers without training images are left out with their test images.

    Args:
        root: Folder with LEAF's ``train/`` and ``test/``, or a folder that holds the parquet files.
        writers: Only the first so many of the sorted writer ids (193 is usual); None = all.
        invert: True gives ink 1 on background 0, as in MNIST: a black picture is then an empty one, which attacks start
            from and are compared with. False keeps LEAF's pixels, background 1. Behind standardised inputs only a sign.
    """

    root: str = "data/femnist"
    writers: Count | None = None
    invert: bool = True

    def load(self) -> ImageData:
        """Return the images of the chosen writers, ``[N, 1, 28, 28]``, ordered by writer."""
        folder = find_folder("femnist", self.root, "data", _HINT)
        parquet = sorted(folder.glob("*.parquet"))
        train, test = read_parquet(parquet, self.writers) if parquet else self._leaf(folder)
        mean = MEAN if self.invert else (1 - MEAN[0],)
        return ImageData(
            *self._tensors(train, folder),
            *self._tensors(test, folder),
            num_classes=NUM_CLASSES,
            mean=mean,
            std=STD,
            train_writers=torch.from_numpy(train.owners),
            test_writers=torch.from_numpy(test.owners),
            writers=train.writers,
        )

    def _leaf(self, folder: Path) -> tuple[WriterImages, WriterImages]:
        train_files, test_files = leaf_files(folder / "train"), leaf_files(folder / "test")
        train_counts, test_counts = count_samples(train_files), count_samples(test_files)
        chosen = first_writers(train_counts, self.writers)
        return _fill(train_files, train_counts, chosen), _fill(test_files, test_counts, chosen)

    def _tensors(self, part: WriterImages, folder: Path) -> tuple[Tensor, Tensor]:
        if part.labels.size and not 0 <= part.labels.min() <= part.labels.max() < NUM_CLASSES:
            raise ScenarioError(f"{folder}: labels must be 0 to 61, got {part.labels.min()} to {part.labels.max()}")
        if self.invert:
            np.subtract(1, part.pixels, out=part.pixels)
        return torch.from_numpy(part.pixels).reshape(-1, 1, 28, 28), torch.from_numpy(part.labels)


def _fill(paths: list[Path], counts: dict[str, int], chosen: list[str]) -> WriterImages:
    images = WriterImages.reserve(chosen, [counts.get(name, 0) for name in chosen])
    for path in paths:
        for name, (pixels, labels) in read_writers(path, set(chosen)):
            images.add(path, name, pixels, labels)
    return images.full(paths[0].parent)
