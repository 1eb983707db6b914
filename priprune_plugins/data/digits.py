"""Scikit-learn's handwritten digits: 1,797 real images of 8x8 pixels that need no download.

Reference: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from priprune_plugins.data.images import ImageData
from priprune_plugins.errors import ScenarioError
from priprune_plugins.generators import generator
from priprune_plugins.options import Count

NUM_IMAGES = 1_797
# Over the 1,500 training images at 28x28; size 14 differs by 0.001.
MEAN, STD = (0.3059,), (0.3251,)


@dataclass(frozen=True, eq=False)
class Digits:
    """Ten digits, enlarged bilinearly; ink 1, background 0.

    Args:
        size: Side of the images in pixels.
        train: Training images.
        test: Test images; with ``train`` at most 1,797. Which image falls where never changes.
        num_classes: Outputs of the model; 62 gives the heads of the FEMNIST models, 52 of them without images.
    """

    size: Count = 28
    train: Count = 1_500
    test: Count = 297
    num_classes: Count = 10

    def load(self) -> ImageData:
        """Return the images, grey, ``[N, 1, size, size]``."""
        if self.train + self.test > NUM_IMAGES:
            raise ScenarioError(
                f"data: digits has {NUM_IMAGES} images, got train {self.train} + test {self.test}; lower one of them"
            )
        if self.num_classes < 10:
            raise ScenarioError(f"data.num_classes: digits needs at least 10, got {self.num_classes}")
        bunch = load_digits()
        order = torch.randperm(NUM_IMAGES, generator=generator(0, "digits"))
        small = torch.from_numpy(bunch.images).float().div_(16).unsqueeze(1)[order]
        images = interpolate(small, size=(self.size, self.size), mode="bilinear", align_corners=False)
        labels = torch.from_numpy(bunch.target).long()[order]
        # Cut from both ends, so that the test images stay the same for any number of training images.
        return ImageData(
            images[: self.train],
            labels[: self.train],
            images[-self.test :],
            labels[-self.test :],
            self.num_classes,
            MEAN,
            STD,
        )
