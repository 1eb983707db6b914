"""Small models, for quick runs and tests."""

from collections import OrderedDict
from dataclasses import dataclass
from math import prod

from torch import nn

from priprune_plugins.models.convnet import Conv, ImageShape, convnet, fully_connected
from priprune_plugins.options import Count

_CONVS = (Conv(8, 5, 2, pool=True), Conv(16, 5, 2, pool=True))


@dataclass(frozen=True, eq=False)
class Mini:
    """Two 5x5 convolutions of 8 and 16 channels, 128 hidden units: 111,902 parameters for 1x28x28 and 62 classes."""

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        return convnet("mini", image_shape, num_classes, _CONVS, (128,))


@dataclass(frozen=True, eq=False)
class Small14:
    """Two 5x5 convolutions of 8 and 16 channels, 512 hidden units: 109,470 parameters for 1x14x14 and 62 classes.

    Meant for 14x14 images (``data: {name: digits, size: 14}``); larger ones work and widen only the first linear layer.
    """

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        return convnet("small14", image_shape, num_classes, _CONVS, (512,))


@dataclass(frozen=True, eq=False)
class MLP:
    """Fully connected layers with ReLU; the default is the 2NN of the FedAvg paper, 199,210 parameters for MNIST.

    Args:
        hidden: Units of each hidden layer; empty gives softmax regression.

    Reference: McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-Efficient Learning of Deep Networks from
    Decentralized Data", AISTATS 2017, arXiv:1602.05629, section 3.
    """

    hidden: tuple[Count, ...] = (200, 200)

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        layers.update(fully_connected(prod(image_shape), self.hidden, num_classes))
        return nn.Sequential(layers)
