"""The paper's VGG-n for CIFAR-10: 3x3 convolutions with biases, no batch norm.

Reference: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
arXiv:1409.1556; the parameter counts are those of Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and
Preserving Privacy in Pruned Federated Learning", 2023, arXiv:2310.19958.
"""

from dataclasses import dataclass

from torch import nn

from priprune_plugins.models.convnet import Conv, ImageShape, convnet


def _convs(*channels: int, pooled: set[int]) -> tuple[Conv, ...]:
    """Return 3x3 convolutions that keep the size; ``pooled`` counts from 1 which of them halve it."""
    return tuple(Conv(width, 3, 1, pool=index in pooled) for index, width in enumerate(channels, start=1))


@dataclass(frozen=True, eq=False)
class VGG4:
    """Two convolutions, 128 hidden units: 1,125,642 parameters for 3x32x32 and 10 classes.

    The paper's text says one convolution; only two give the parameter count that it prints.
    """

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        return convnet("vgg4", image_shape, num_classes, _convs(64, 128, pooled={1, 2}), (128,))


@dataclass(frozen=True, eq=False)
class VGG6:
    """Four convolutions, 128 hidden units: 1,814,538 parameters for 3x32x32 and 10 classes."""

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        return convnet("vgg6", image_shape, num_classes, _convs(64, 128, 256, 512, pooled={1, 2, 3, 4}), (128,))


@dataclass(frozen=True, eq=False)
class VGG9:
    """Six convolutions, 256 and 128 hidden units: 6,436,106 parameters for 3x32x32 and 10 classes."""

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        convs = _convs(64, 128, 256, 512, 512, 512, pooled={1, 2, 3, 4, 6})
        return convnet("vgg9", image_shape, num_classes, convs, (256, 128))


@dataclass(frozen=True, eq=False)
class VGG11:
    """VGG-11's eight convolutions, 256 and 128 hidden units: 9,385,994 parameters for 3x32x32 and 10 classes."""

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        convs = _convs(64, 128, 256, 256, 512, 512, 512, 512, pooled={1, 2, 4, 6, 8})
        return convnet("vgg11", image_shape, num_classes, convs, (256, 128))
