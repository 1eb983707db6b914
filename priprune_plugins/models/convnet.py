"""Convolutions, then fully connected layers: what most models here are."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from torch import nn

from priprune_plugins.errors import ScenarioError

ImageShape = tuple[int, int, int]


@dataclass(frozen=True)
class Conv:
    """One convolution of stride 1 with bias and ReLU, then a 2x2 max-pooling where ``pool``."""

    channels: int
    kernel: int
    padding: int
    pool: bool = False

    def side(self, side: int) -> int:
        """Return how many pixels come out along one axis for ``side`` pixels in."""
        convolved = side + 2 * self.padding - self.kernel + 1
        return convolved // 2 if self.pool else convolved


def side_after(convs: Sequence[Conv], side: int) -> int:
    """Return how many pixels are left along one axis after all ``convs``; at most 0 where the image is too small."""
    for conv in convs:
        side = conv.side(side)
        if side < 1:
            return 0
    return side


def convnet(
    name: str, image_shape: ImageShape, num_classes: int, convs: Sequence[Conv], hidden: Sequence[int]
) -> nn.Sequential:
    """Return the network: ``convs``, then fully connected layers of ``hidden`` units, then ``num_classes`` logits.

    ReLU after every hidden layer, biases everywhere. All modules are plain and none works in place, so that an attack
    can hook them and differentiate twice.

    Args:
        name: The model's name, for the message.
        image_shape: ``(C, H, W)``.
        num_classes: Number of labels ``K``.
        convs: The convolutions, in order.
        hidden: Units of each fully connected hidden layer.

    Returns:
        A network from ``[B, C, H, W]`` to logits ``[B, K]``.

    Raises:
        ScenarioError: Nothing of the image is left after the convolutions.
    """
    channels, height, width = image_shape
    rows, columns = side_after(convs, height), side_after(convs, width)
    if not (rows and columns):
        smallest = next(side for side in count(1) if side_after(convs, side))
        raise ScenarioError(
            f"model: {name} needs images of at least {smallest}x{smallest} pixels, got {height}x{width}; "
            "choose larger images or a smaller model"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, conv in enumerate(convs, start=1):
        layers[f"conv{index}"] = nn.Conv2d(channels, conv.channels, conv.kernel, padding=conv.padding)
        layers[f"relu{index}"] = nn.ReLU()
        if conv.pool:
            layers[f"pool{index}"] = nn.MaxPool2d(2)
        channels = conv.channels
    layers["flatten"] = nn.Flatten()
    layers.update(fully_connected(channels * rows * columns, hidden, num_classes))
    return nn.Sequential(layers)


def fully_connected(inputs: int, hidden: Sequence[int], num_classes: int) -> "OrderedDict[str, nn.Module]":
    """Return linear layers ``fc1, fc2, ...`` with ReLU between them, the last one giving the logits."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, units in enumerate(hidden, start=1):
        layers[f"fc{index}"] = nn.Linear(inputs, units)
        layers[f"fc{index}_relu"] = nn.ReLU()
        inputs = units
    layers[f"fc{len(hidden) + 1}"] = nn.Linear(inputs, num_classes)
    return layers
