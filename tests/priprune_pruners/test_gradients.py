"""Gradients at flat weights leave the model as they found it."""

import copy

import torch
from torch import nn

from priprune_plugins.layout import Layout
from priprune_pruners.gradients import hessian_gradient_product, loss_gradient
from priprune_pruners.synflow import synflow_scores


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def test_gradient_equals_backward_in_training_mode(net) -> None:
    model = net()
    images, labels = torch.rand(8, 1, 8, 8), torch.arange(8) % 4
    weights = flat(model)
    ours = loss_gradient(model, Layout.of(model), weights, [(images, labels)])
    nn.functional.cross_entropy(model(images), labels).backward()
    torch.testing.assert_close(ours, torch.cat([p.grad.reshape(-1) for p in model.parameters()]))


def test_running_statistics_by_option(net) -> None:
    model = net().eval()
    images, labels = 5 + torch.rand(8, 1, 8, 8), torch.arange(8) % 4
    weights = flat(model)
    ours = loss_gradient(model, Layout.of(model), weights, [(images, labels)], batch_statistics=False)
    nn.functional.cross_entropy(model(images), labels).backward()
    torch.testing.assert_close(ours, torch.cat([p.grad.reshape(-1) for p in model.parameters()]))


def test_model_and_global_generator_stay_as_they_were(net, untouched) -> None:
    with torch.random.fork_rng():
        model = nn.Sequential(net(), nn.Dropout(0.5))
    model[0].eval()
    model[1].train()
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    layout, weights = Layout.of(model), flat(model)
    batch = [(torch.ones(8, 1, 8, 8), torch.arange(8) % 4)]
    with torch.no_grad():
        loss_gradient(model, layout, weights, batch)
        hessian_gradient_product(model, layout, weights, batch, layout.prunable)
        synflow_scores(model, layout, weights, torch.ones_like(layout.prunable), (1, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not weights.requires_grad
