"""Options that trade bits or set-up time for speed: the attack stays the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_attacks.compiled import compiled
from priprune_attacks.gradients import TargetBatch, gradients_of
from priprune_attacks.objectives import cosine
from priprune_attacks.precision import Bf16Gradients, in_precision
from priprune_attacks.sgi import SGI
from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import pseudo_gradient
from priprune_plugins import ScenarioError

Digits = Callable[..., tuple[Tensor, Tensor, Tensor]]


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 4))


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_bf16_gives_the_loss_and_the_direction_of_float32(
    rate: float, new_scene: Callable[..., Any], some_digits: Digits
) -> None:
    scene = new_scene(rate=rate)
    images, labels, _ = some_digits(2)
    seen = [scene.observe(images[v : v + 1], labels[v : v + 1], v) for v in range(2)]
    targets = TargetBatch([pseudo_gradient(one) for one in seen], scene.facts.layout)
    exact = gradients_of(model_at(scene.facts, scene.broadcast, {}), scene.facts.layout, (1, 28, 28), 62)
    low = in_precision(exact, "bf16", scene.facts.layout)
    assert isinstance(low, Bf16Gradients)
    guess = torch.rand(2, 1, 1, 1, 28, 28, generator=torch.Generator().manual_seed(1)).requires_grad_()
    probabilities = functional.one_hot(labels, 62).float().view(2, 1, 1, 62)
    losses = [cosine(engine.products(guess, probabilities, targets)) for engine in (exact, low)]
    grads = [torch.autograd.grad(loss.sum(), guess)[0].flatten() for loss in losses]
    assert losses[1].dtype == grads[1].dtype == torch.float32
    torch.testing.assert_close(losses[1], losses[0], rtol=0, atol=5e-3)
    assert float(torch.cosine_similarity(*grads, dim=0)) > 0.98


def test_bf16_is_refused_where_it_would_be_something_else(new_scene: Callable[..., Any]) -> None:
    normed = new_scene(
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 4)), (1, 8, 8), 4
    )
    images, labels = torch.rand(1, 1, 8, 8), torch.tensor([1])
    attack = SGI(iterations=2, precision="bf16")
    with pytest.raises(ScenarioError, match="precision: bf16 needs a model of Linear and Conv2d layers only"):
        attack.reconstruct([normed.observe(images, labels)], torch.Generator(), lambda share, loss=None: None)


@pytest.mark.slow
def test_a_compiled_distance_and_its_gradients_are_the_plain_ones(new_scene: Callable[..., Any]) -> None:
    scene = new_scene(small, (1, 8, 8), 4, rate=0.3)
    draws = torch.Generator().manual_seed(0)
    seen = scene.observe(torch.rand(2, 1, 8, 8, generator=draws), torch.tensor([1, 2]))
    targets = TargetBatch([pseudo_gradient(seen)], scene.facts.layout)
    engine = gradients_of(model_at(scene.facts, scene.broadcast, {}), scene.facts.layout, (1, 8, 8), 4)
    plain = lambda images, labels: cosine(engine.products(images, labels, targets))  # noqa: E731
    fast = compiled(plain)
    for _ in range(2):
        images = torch.rand(1, 3, 2, 1, 8, 8, generator=draws).requires_grad_()
        labels = torch.rand(1, 3, 2, 4, generator=draws).softmax(-1).requires_grad_()
        outer = torch.rand(1, 3, generator=draws)
        expected = torch.autograd.grad((outer * plain(images, labels)).sum(), (images, labels))
        found = torch.autograd.grad((outer * fast(images, labels)).sum(), (images, labels))
        torch.testing.assert_close(fast(images, labels), plain(images, labels), rtol=0, atol=1e-5)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_compiled_says_so() -> None:
    def data_dependent(images: Tensor, labels: Tensor) -> Tensor:
        return (images.flatten(2).sum(-1) + labels.flatten(2).sum(-1)) * float(images.detach().sum())

    with pytest.raises(ScenarioError, match=r"compile: true does not work on this machine .*; use compile: false"):
        compiled(data_dependent)(torch.ones(1, 1, 1, 1, 2, 2), torch.ones(1, 1, 1, 2))
