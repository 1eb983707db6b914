"""The paper's Conv-n for FEMNIST: LEAF's network, one convolution less or two and four more.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958 (parameter counts); Caldas et al., "LEAF: A Benchmark for Federated Settings",
2018, arXiv:1812.01097 (Conv-2).
"""

from dataclasses import dataclass

from torch import nn

from priprune_plugins.models.convnet import Conv, ImageShape, convnet

_CONV2 = (Conv(32, 5, 2, pool=True), Conv(64, 5, 2, pool=True))
_CONV4 = (*_CONV2, Conv(128, 3, 0), Conv(256, 3, 1))
_CONV6 = (*_CONV4, Conv(512, 3, 0), Conv(1024, 3, 1))


@dataclass(frozen=True, eq=False)
class Conv1:
    """One convolution and 2,048 hidden units: 3,815,566 parameters for 1x28x28 and 62 classes."""

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        return convnet("conv1", image_shape, num_classes, (Conv(8, 3, 2, pool=True),), (2048,))


@dataclass(frozen=True, eq=False)
class Conv2:
    """LEAF's network, two convolutions and 2,048 hidden units: 6,603,710 parameters for 1x28x28 and 62 classes."""

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        return convnet("conv2", image_shape, num_classes, _CONV2, (2048,))


@dataclass(frozen=True, eq=False)
class Conv4:
    """Four convolutions and 2,048 hidden units: 13,657,406 parameters for 1x28x28 and 62 classes."""

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        return convnet("conv4", image_shape, num_classes, _CONV4, (2048,))


@dataclass(frozen=True, eq=False)
class Conv6:
    """Six convolutions and 2,048 hidden units: 25,324,350 parameters for 1x28x28 and 62 classes."""

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        return convnet("conv6", image_shape, num_classes, _CONV6, (2048,))
