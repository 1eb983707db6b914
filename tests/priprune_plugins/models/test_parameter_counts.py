"""Parameter counts are those that the papers print, to the unit."""

import pytest
import torch

from priprune_plugins.models.leaf import Conv1, Conv2, Conv4, Conv6
from priprune_plugins.models.lenet import LeNet5, LeNetDLG
from priprune_plugins.models.resnet import ResNet18
from priprune_plugins.models.small import MLP, Mini, Small14
from priprune_plugins.models.vgg import VGG4, VGG6, VGG9, VGG11

FEMNIST, MNIST, CIFAR = ((1, 28, 28), 62), ((1, 28, 28), 10), ((3, 32, 32), 10)
COUNTS = [
    (Conv1(), FEMNIST, 3_815_566),
    (Conv2(), FEMNIST, 6_603_710),
    (Conv4(), FEMNIST, 13_657_406),
    (Conv6(), FEMNIST, 25_324_350),
    (VGG4(), CIFAR, 1_125_642),
    (VGG6(), CIFAR, 1_814_538),
    (VGG9(), CIFAR, 6_436_106),
    (VGG11(), CIFAR, 9_385_994),
    (Small14(), ((1, 14, 14), 62), 109_470),
    (Mini(), FEMNIST, 111_902),
    (Mini(), ((1, 16, 16), 62), 44_318),
    (LeNetDLG(), ((3, 32, 32), 100), 85_036),
    (LeNet5(), MNIST, 61_706),
    (MLP(), MNIST, 199_210),
    (MLP(hidden=()), MNIST, 7_850),
    (ResNet18(), CIFAR, 11_173_962),
    (ResNet18(norm="group"), CIFAR, 11_173_962),
]


@pytest.mark.parametrize(("plugin", "task", "count"), COUNTS, ids=lambda value: type(value).__name__)
def test_parameter_count_is_exact(plugin, task, count):
    with torch.device("meta"):
        model = plugin.build(*task)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
