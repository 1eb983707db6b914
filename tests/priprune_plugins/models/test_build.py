"""Building: whose initialisation is used, and that it depends on the generator alone."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from priprune_plugins import PluginError
from priprune_plugins.generators import generator
from priprune_plugins.models.build import build_model
from priprune_plugins.models.initialise import initialise
from priprune_plugins.models.lenet import LeNetDLG
from priprune_plugins.models.small import Mini


@dataclass(frozen=True, eq=False)
class Embedded:
    """A stranger's model: a parameter of its own, and an initialisation by name."""

    default_init: ClassVar[str] = "glorot"

    def build(self, image_shape, num_classes):
        net = nn.Sequential(nn.Flatten(), nn.Linear(image_shape[1] * image_shape[2], num_classes))
        net.register_parameter("scale", nn.Parameter(torch.randn(3)))
        return net


def _build(plugin, init=None, seed=0):
    return build_model(plugin, (1, 8, 8), 4, (0.5,), (0.5,), init, torch.Generator().manual_seed(seed))


def _flat(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("plugin", [Mini(), LeNetDLG(), Embedded()])
def test_weights_depend_on_the_generator_and_on_nothing_global(plugin):
    torch.manual_seed(1)
    first, before = _flat(_build(plugin)), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(_flat(_build(plugin)), first)
    assert not torch.equal(_flat(_build(plugin, seed=5)), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), before)


def test_model_s_own_initialisation_yields_to_a_named_one():
    own, named = _build(LeNetDLG()), _build(LeNetDLG(), init="he")
    assert 0.49 < own.net.fc1.weight.abs().max() <= 0.5
    assert own.net.fc1.bias.abs().max() > 0.1
    assert named.net.fc1.weight.abs().max() <= (6 / 48) ** 0.5
    assert named.net.fc1.bias.abs().max() == 0


@pytest.mark.parametrize(("plugin", "init"), [(Mini(), "he"), (Embedded(), "glorot")])
def test_initialisation_left_open_is_the_plugin_s_default(plugin, init):
    assert torch.equal(_flat(_build(plugin)), _flat(_build(plugin, init=init)))


def test_model_takes_images_in_the_unit_range_and_is_in_train_mode():
    model = _build(Mini())
    images = torch.rand(2, 1, 8, 8)
    assert model.training
    torch.testing.assert_close(model(images), model.net((images - 0.5) / 0.5))


def test_constants_of_another_channel_count_are_refused():
    with pytest.raises(PluginError, match="3 channels but 1 means"):
        build_model(Mini(), (3, 8, 8), 4, (0.5,), (0.5,), None, torch.Generator())


def test_streams_of_different_keys_keep_weights_of_both_signs():
    """One key for weights and mask would keep exactly the most positive weights, and nothing would train."""
    layer = nn.Linear(50, 40)
    initialise(nn.Sequential(layer), "he", generator(0, "weights"))
    same, other = (torch.rand(40, 50, generator=generator(0, key)) > 0.5 for key in ("weights", "mask"))
    assert (layer.weight[same] > 0).all()
    assert 0.45 < (layer.weight[other] > 0).double().mean() < 0.55
