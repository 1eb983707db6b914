"""What every built-in model must do, over all of them."""

import pytest
import torch
from torch import nn

from priprune_plugins import ScenarioError
from priprune_plugins.models.leaf import Conv1, Conv2, Conv4, Conv6
from priprune_plugins.models.lenet import LeNet5, LeNetDLG
from priprune_plugins.models.resnet import ResNet18
from priprune_plugins.models.small import MLP, Mini, Small14
from priprune_plugins.models.vgg import VGG4, VGG6, VGG9, VGG11

SMALLEST = {
    Conv1: 1, Conv2: 4, Conv4: 12, Conv6: 20, VGG4: 4, VGG6: 16, VGG9: 32, VGG11: 32,
    LeNet5: 12, LeNetDLG: 1, Mini: 4, Small14: 4, MLP: 1, ResNet18: 1,
}  # fmt: skip
REFUSING = [plugin for plugin, side in SMALLEST.items() if side > 1]
BUILT_QUICKLY = [LeNet5, LeNetDLG, Mini, Small14, MLP, VGG4]


@pytest.mark.parametrize("plugin", SMALLEST)
def test_smallest_image_of_any_channel_and_class_count_gives_logits(plugin):
    with torch.device("meta"):
        model = plugin().build((2, SMALLEST[plugin], SMALLEST[plugin] + 3), 7)
        assert model(torch.empty(4, 2, SMALLEST[plugin], SMALLEST[plugin] + 3)).shape == (4, 7)


@pytest.mark.parametrize("plugin", REFUSING)
def test_smaller_image_is_refused_with_the_smallest_size(plugin):
    side = SMALLEST[plugin]
    with pytest.raises(
        ScenarioError, match=rf"{plugin.__name__.lower()} needs .* {side}x{side} pixels, got {side - 1}x40"
    ):
        plugin().build((1, side - 1, 40), 10)


@pytest.mark.parametrize("plugin", [*BUILT_QUICKLY, ResNet18])
def test_gradient_can_be_differentiated_again(plugin):
    torch.manual_seed(0)
    model = plugin().build((1, 12, 12), 5)
    images = torch.rand(2, 1, 12, 12, requires_grad=True)
    loss = nn.functional.cross_entropy(model(images), torch.tensor([1, 4]))
    grads = torch.autograd.grad(loss, tuple(model.parameters()), create_graph=True)
    sum(grad.square().sum() for grad in grads).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("plugin", SMALLEST)
def test_weights_belong_to_plain_modules_that_do_not_work_in_place(plugin):
    with torch.device("meta"):
        model = plugin().build((3, 32, 32), 10)
    kinds = {type(module) for module in model.modules() if module._parameters}
    assert kinds <= {nn.Conv2d, nn.Linear, nn.BatchNorm2d}
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_group_norm_has_no_statistics_to_send():
    with torch.device("meta"):
        assert not list(ResNet18(norm="group").build((3, 32, 32), 10).buffers())
        assert len(list(ResNet18(norm="batch").build((3, 32, 32), 10).buffers())) == 3 * 20
