"""Standardise: the arithmetic, and that its constants are neither parameters nor buffers."""

import copy

import pytest
import torch
from torch import nn

from priprune_plugins.models.standardise import Standardise


def test_subtracts_the_mean_and_divides_by_the_std_of_each_channel():
    model = Standardise((0.5, 0.25), (0.5, 0.125), nn.Flatten())
    images = torch.tensor([[[[1.0]], [[0.0]]]])
    assert model(images).tolist() == [[1.0, -2.0]]


def test_constants_are_not_in_any_registry():
    model = Standardise((0.5,), (0.5,), nn.BatchNorm2d(1))
    assert [name for name, _ in model.named_parameters()] == ["net.weight", "net.bias"]
    assert {name.split(".")[0] for name, _ in model.named_buffers()} == {"net"}
    assert set(model.state_dict()) == {f"net.{name}" for name in nn.BatchNorm2d(1).state_dict()}


def test_constants_follow_the_dtype_without_losing_digits():
    model = Standardise((0.1,), (0.3,), nn.Flatten()).half().double()
    assert model(torch.zeros(1, 1, 1, 1, dtype=torch.float64)).item() == -0.1 / 0.3


def test_constants_survive_the_meta_device_and_a_copy():
    with torch.device("meta"):
        model = Standardise((0.5,), (0.25,), nn.Flatten())
    model = copy.deepcopy(model.to_empty(device="cpu"))
    assert model(torch.ones(1, 1, 1, 1)).item() == 2.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_constants_follow_the_device():
    model = Standardise((0.5,), (0.25,), nn.Flatten()).to("cuda")
    assert model(torch.ones(1, 1, 1, 1, device="cuda")).item() == 2.0
