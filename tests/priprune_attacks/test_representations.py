"""Inputs and outputs of a module."""

import pytest
import torch
from torch import nn

from priprune_attacks.representations import mixes_its_batch, pixelwise, representation, representations
from priprune_plugins import ScenarioError


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


IMAGES = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_input_and_output_of_a_module_equal_the_parts_of_the_model() -> None:
    model = net()
    torch.testing.assert_close(representation(model, "1", IMAGES), model[:2](IMAGES))
    torch.testing.assert_close(representation(model, "3", IMAGES, "input"), model[:3](IMAGES))


def test_nothing_after_the_module_is_computed() -> None:
    model = net()
    model[3] = nn.Linear(1, 1)
    assert representation(model, "2", IMAGES).shape == (5, 8)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_an_unknown_module_is_named_with_those_there_are() -> None:
    with pytest.raises(ScenarioError, match=r"layer must name a module of the model, got 'fc9'; it has: 0, 1, 2, 3"):
        representation(net(), "fc9", IMAGES)


def test_batch_norm_ties_the_images_of_a_pass_and_is_run_row_by_row() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    assert mixes_its_batch(model, "1", (1, 4, 4))
    assert not mixes_its_batch(net(), "3", (1, 4, 4))
    rows = IMAGES[:4].view(2, 1, 2, 1, 4, 4)
    found = representations(model, "1", rows, mixing=True)
    torch.testing.assert_close(found[1, 0], representation(model, "1", rows[1, 0]))


def test_a_linear_layer_on_the_image_takes_shifted_and_scaled_pixels() -> None:
    class Standardised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.fc(((images - 0.3) / 0.5).flatten(1))
            return answer

    found = pixelwise(Standardised(), "fc", (1, 4, 4))
    assert found is not None
    torch.testing.assert_close(found[0], torch.full((16,), -0.6))
    torch.testing.assert_close(found[1], torch.full((16,), 2.0))
    assert pixelwise(net(), "3", (1, 4, 4)) is None
