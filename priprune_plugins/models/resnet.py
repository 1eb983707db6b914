"""ResNet-18 for small images.

Reference: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from priprune_plugins.models.convnet import ImageShape

Norm = Literal["batch", "group"]


def _norm(kind: Norm, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(32, channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is 1x1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = _norm(norm, outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = _norm(norm, outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False))
            self.shortcut.append(_norm(norm, outputs))
        self.relu2 = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Map ``[B, inputs, H, W]`` to ``[B, outputs, H / stride, W / stride]``."""
        inner = self.conv2(self.relu1(self.norm1(self.conv1(features))))
        out: Tensor = self.relu2(self.norm2(inner) + self.shortcut(features))
        return out


@dataclass(frozen=True, eq=False)
class ResNet18:
    """ResNet-18 with CIFAR's stem, one 3x3 convolution and no pooling: 11,173,962 parameters for 10 classes.

    Args:
        norm: ``batch``, whose statistics are sent beside the weights, or ``group``, 32 groups, which has none.

    Reference: He et al. 2016; group norm: Wu, He, "Group Normalization", ECCV 2018, arXiv:1803.08494.
    """

    norm: Norm = "batch"

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the network, logits for images ``[B, *image_shape]`` of any size."""
        stem = nn.Conv2d(image_shape[0], 64, 3, padding=1, bias=False)
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=stem, norm1=_norm(self.norm, 64), relu1=nn.ReLU())
        inputs = 64
        for index, outputs in enumerate((64, 128, 256, 512), start=1):
            first = ResidualBlock(inputs, outputs, 1 if index == 1 else 2, self.norm)
            layers[f"layer{index}"] = nn.Sequential(first, ResidualBlock(outputs, outputs, 1, self.norm))
            inputs = outputs
        layers.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(512, num_classes))
        return nn.Sequential(layers)
