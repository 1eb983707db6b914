"""The three maps of a convolution against autograd's own, to second order."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_attacks.convolution import Geometry, convolve, weight_gradient

GEOMETRIES = [Geometry((1, 1), (2, 2), (1, 1)), Geometry((2, 1), (1, 0), (1, 2)), Geometry((1, 1), (1, 1), (1, 1), 2)]


def rand(*shape: int, seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draws, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_convolution_equals_torch_and_its_first_two_derivatives_are_right(geometry: Geometry) -> None:
    inputs, weight = rand(2, 4, 6, 7), rand(6, 4 // geometry.groups, 3, 3, seed=1)
    g = geometry
    expected = functional.conv2d(inputs, weight, None, g.stride, g.padding, g.dilation, g.groups)
    torch.testing.assert_close(convolve(inputs, weight, geometry), expected)
    run = lambda a, w: convolve(a, w, geometry)  # noqa: E731
    assert torch.autograd.gradcheck(run, (inputs, weight))
    assert torch.autograd.gradgradcheck(run, (inputs, weight))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_weight_gradient_equals_autograds_and_its_derivatives_are_right(geometry: Geometry) -> None:
    inputs, weight = rand(2, 4, 6, 7), rand(6, 4 // geometry.groups, 3, 3, seed=1)
    deltas = rand(*convolve(inputs, weight, geometry).shape, seed=2)
    (expected,) = torch.autograd.grad(convolve(inputs, weight, geometry), weight, deltas.detach())
    torch.testing.assert_close(weight_gradient(inputs, deltas, weight.shape, geometry), expected)
    run = lambda a, d: weight_gradient(a, d, weight.shape, geometry)  # noqa: E731
    assert torch.autograd.gradgradcheck(run, (inputs, deltas))


def test_geometry_of_a_module_unfolds_to_the_patches_that_it_multiplies() -> None:
    module = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False).double()
    inputs = rand(2, 2, 7, 7)
    patches = Geometry.of(module).unfold(inputs, (3, 3))
    torch.testing.assert_close(module.weight.flatten(1) @ patches, module(inputs).flatten(2))
