"""Initialisation: the formulas, the generator, and nothing global."""

import pytest
import torch
from torch import nn

from priprune_plugins.models.initialise import initialise


def _model():
    return nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 16 * 16, 10))


@pytest.mark.parametrize(
    ("init", "bounds"),
    [
        ("he", ((6 / 75) ** 0.5, (6 / 2048) ** 0.5)),
        ("glorot", ((6 / (75 + 200)) ** 0.5, (6 / (2048 + 10)) ** 0.5)),
        ("default", (75**-0.5, 2048**-0.5)),
    ],
)
def test_weights_are_uniform_within_the_bound_of_the_formula(init, bounds):
    model = _model()
    initialise(model, init, torch.Generator().manual_seed(0))
    for layer, bound in zip((model[0], model[3]), bounds, strict=True):
        assert 0.98 * bound < layer.weight.detach().abs().max() <= bound
        assert layer.weight.detach().var().item() == pytest.approx(bound**2 / 3, rel=0.1)
        bias = layer.bias.detach().abs().max()
        assert 0.5 * bound < bias <= bound if init == "default" else bias == 0


@pytest.mark.parametrize(
    ("init", "reference"),
    [
        ("he", lambda weight, g: nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=g)),
        ("glorot", lambda weight, g: nn.init.xavier_uniform_(weight, generator=g)),
        ("default", lambda weight, g: nn.init.kaiming_uniform_(weight, a=5**0.5, generator=g)),
    ],
)
def test_first_layer_equals_torch_s_own_initialiser(init, reference):
    model = _model()
    initialise(model, init, torch.Generator().manual_seed(3))
    expected = reference(torch.empty(8, 3, 5, 5), torch.Generator().manual_seed(3))
    torch.testing.assert_close(model[0].weight.data, expected, rtol=1e-6, atol=0)


def test_norms_become_the_identity_and_the_global_generator_is_untouched():
    model = _model()
    nn.init.constant_(model[1].weight, 7.0)
    before = torch.get_rng_state()
    initialise(model, "default", torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(model[1].weight.data, torch.ones(8))
    assert torch.equal(model[1].bias.data, torch.zeros(8))
