"""The paper's own lambdas on its own network select a rate at the first step."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from priprune_defenses.priprune import PriPrune
from priprune_plugins.generators import generator
from priprune_plugins.models.initialise import Init, initialise
from priprune_plugins.models.leaf import Conv2


def first_gradient(model: nn.Module) -> Tensor:
    digits = load_digits()
    images = torch.tensor(digits.images[:20] / 16, dtype=torch.float32)[:, None]
    images = nn.functional.interpolate(images, (28, 28), mode="bilinear", align_corners=False)
    loss = nn.functional.cross_entropy(model(images), torch.tensor(digits.target[:20]))
    return torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, list(model.parameters()))])


@pytest.fixture(params=["default", "he", "glorot"])
def conv2(request: pytest.FixtureRequest) -> nn.Module:
    model = Conv2().build((1, 28, 28), 62)
    init: Init = request.param
    initialise(model, init, generator(0, "init"))
    return model


def test_the_papers_lambdas_withhold_a_quarter_to_a_third_of_conv2(participation, conv2: nn.Module) -> None:
    world = participation(conv2, lr=0.25)
    grad, received = first_gradient(conv2), torch.zeros(6_603_710)
    rates = []
    for alpha_init in (None, 0.1):
        world.states.clear()
        plugin = PriPrune("paper", lambda_pri=10, lambda_sha=2e-6, alpha_init=alpha_init)
        rates.append(float((~world(plugin, world.client(received), [grad]).shared).float().mean()))
    assert 0.25 <= rates[0] <= 0.36 and rates[1] == 0
