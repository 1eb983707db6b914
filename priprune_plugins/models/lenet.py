"""LeNet-5, and the small sigmoid network that gradient-inversion papers call LeNet."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from priprune_plugins.models.convnet import Conv, ImageShape, convnet


@dataclass(frozen=True, eq=False)
class LeNet5:
    """LeNet-5 with ReLU and max-pooling: 61,706 parameters for 1x28x28 and 10 classes.

    The original's sigmoids, trainable subsampling, sparse connections and radial-basis output are replaced, as usual.

    Reference: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition",
    Proceedings of the IEEE 1998.
    """

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``."""
        convs = (Conv(6, 5, 2, pool=True), Conv(16, 5, 0, pool=True))
        return convnet("lenet5", image_shape, num_classes, convs, (120, 84))


@dataclass(frozen=True, eq=False)
class LeNetDLG:
    """Three sigmoid convolutions of 12 channels and one linear layer: 85,036 parameters for 3x32x32 and 100 classes.

    Strides stand for pooling, sigmoids for ReLU, so that the network is twice differentiable everywhere.

    Reference: Zhu, Liu, Han, "Deep Leakage from Gradients", NeurIPS 2019, arXiv:1906.08935, section 4 and its code.
    """

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]``; no image is too small."""
        channels, height, width = image_shape
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index, stride in enumerate((2, 2, 1), start=1):
            layers[f"conv{index}"] = nn.Conv2d(channels, 12, 5, padding=2, stride=stride)
            layers[f"sigmoid{index}"] = nn.Sigmoid()
            channels = 12
        layers["flatten"] = nn.Flatten()
        layers["fc1"] = nn.Linear(12 * -(-height // 4) * -(-width // 4), num_classes)
        return nn.Sequential(layers)

    def initialise(self, model: nn.Module, generator: torch.Generator) -> None:
        """Draw every weight and bias from U(-0.5, 0.5), as the DLG papers do: the attack needs gradients this large."""
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.uniform_(-0.5, 0.5, generator=generator)
