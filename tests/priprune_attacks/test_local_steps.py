"""Local steps as a server knows them, and uploads of several steps matched by unrolling."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_attacks.gradients import FactoredGradients, TargetBatch, gradients_of
from priprune_attacks.groups import grouped, readings
from priprune_attacks.labels import searched
from priprune_attacks.local_steps import LocalSteps
from priprune_attacks.objectives import cosine
from priprune_attacks.sgi import SGI
from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import pseudo_gradient
from priprune_plugins import Observation
from priprune_plugins.masks import applied
from priprune_plugins.models.initialise import initialise
from priprune_plugins.models.small import Mini
from priprune_plugins.models.standardise import Standardise


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 4))


def images_of(count: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(3)
    return torch.rand(count, 1, 8, 8, generator=draws), torch.arange(count) % 4


def client_of(
    scene: Any, images: Tensor, labels: Tensor, batches: list[list[int]], mu: float = 0.0, offset: Tensor | None = None
) -> Observation:
    """What a server holds of a client that makes one SGD step on each of ``batches``."""
    weights, lr = scene.broadcast, scene.facts.lr
    model = scene.build()
    for batch in batches:
        point = weights.clone().requires_grad_()
        logits = torch.func.functional_call(model, scene.facts.layout.unflatten(point), (images[batch],))
        (grad,) = torch.autograd.grad(functional.cross_entropy(logits, labels[batch]), point)
        grad = grad + mu * (weights - scene.broadcast) + (0.0 if offset is None else offset)
        weights = applied(weights - lr * grad, scene.mask)
    facts = replace(scene.facts, batch_size=len(batches[0]), local_steps=len(batches), proximal=mu)
    seen = scene.observe(images, labels)
    return replace(seen, upload=weights, facts=facts, num_samples=len(images), offset=offset)


def loss_at(seen: Observation, images: Tensor, labels: Tensor, **options: Any) -> float:
    """The cosine distance of the true images' own update from the upload."""
    target = pseudo_gradient(seen, **options)
    model = model_at(seen.facts, target.point, {})
    engine = gradients_of(model, seen.facts.layout, (1, 8, 8), 4)
    guess = images[None, None].clone().requires_grad_()
    probabilities = functional.one_hot(labels, 4).float()[None, None]
    return float(cosine(engine.products(guess, probabilities, TargetBatch([target], seen.facts.layout))))


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("known", ["nothing", "proximal", "offset"])
@pytest.mark.parametrize("batches", [[[0, 1, 2]] * 4, [[0, 1], [2], [0, 1], [2]]], ids=["whole batches", "passes"])
def test_the_true_images_explain_their_upload_exactly(
    rate: float, known: str, batches: list[list[int]], new_scene: Callable[..., Any]
) -> None:
    scene = new_scene(small, (1, 8, 8), 4, rate=rate)
    images, labels = images_of(3)
    offset = torch.randn(scene.weights.shape, generator=torch.Generator().manual_seed(4)) if known == "offset" else None
    mu = 2.0 if known == "proximal" else 0.0
    seen = client_of(scene, images, labels, batches, mu, offset)
    assert loss_at(seen, images, labels) <= 1e-6
    assert loss_at(seen, images, labels, unroll=False) > 1e-3
    if known == "proximal":
        assert loss_at(replace(seen, facts=replace(seen.facts, proximal=0.0)), images, labels) > 1e-5


def test_steps_are_cut_from_passes_over_the_images_in_index_order() -> None:
    def parts(count: int, batch_size: int, num_images: int) -> list[list[int]]:
        return [list(range(num_images))[s] for s in LocalSteps(count, 0.1, batch_size).batches(num_images)]

    assert parts(3, 2, 6) == [[0, 1], [2, 3], [4, 5]]
    assert parts(4, 2, 3) == [[0, 1], [2], [0, 1], [2]]
    assert parts(2, 20, 3) == [[0, 1, 2], [0, 1, 2]]
    assert parts(1, 2, 2) == [[0, 1]]


def test_a_pull_takes_back_a_share_of_earlier_steps() -> None:
    assert LocalSteps(3, 0.1, 1).shares(3) == [1.0, 1.0, 1.0]
    assert LocalSteps(3, 0.1, 1, pull=5.0).shares(3) == [0.25, 0.5, 1.0]


def test_an_attacker_that_ignores_pruning_unrolls_without_the_mask(new_scene: Callable[..., Any]) -> None:
    scene = new_scene(small, (1, 8, 8), 4, rate=0.3)
    seen = client_of(scene, *images_of(2), [[0], [1]])
    assert pseudo_gradient(seen, "none").steps.mask is None
    assert pseudo_gradient(seen).steps.mask is scene.mask
    assert pseudo_gradient(seen, unroll=False).steps.count == 1


def test_victims_with_other_numbers_of_steps_are_batches_of_their_own(new_scene: Callable[..., Any]) -> None:
    scene = new_scene(small, (1, 8, 8), 4)
    images, labels = images_of(2)
    seen = [client_of(scene, images, labels, [[0, 1]] * count) for count in (2, 1, 3, 2)]
    groups = list(grouped(list(enumerate(seen)), pseudo_gradient, searched, 0))
    assert [(g.steps.count, [v.index for v in g.victims]) for g in groups] == [(1, [1]), (2, [0, 3]), (3, [2])]
    assert isinstance(groups[0].gradients, FactoredGradients)


def test_several_steps_are_read_as_one_step_too(new_scene: Callable[..., Any]) -> None:
    scene = new_scene(small, (1, 8, 8), 4)
    one, three = (client_of(scene, *images_of(1), [[0]] * count) for count in (1, 3))
    (target_of, everything), (one_step, several) = readings([(0, one), (1, three)], pseudo_gradient)
    assert ([i for i, _ in everything], [i for i, _ in several]) == ([0, 1], [1])
    assert (target_of(three).steps.count, one_step(three).steps.count) == (3, 1)
    assert len(readings([(0, one)], pseudo_gradient)) == 1


@pytest.mark.slow
def test_unrolling_tells_more_of_an_image_trained_on_five_times(
    new_scene: Callable[..., Any], some_digits: Callable[..., Any], psnr: Callable[..., float]
) -> None:
    images, labels, mean = some_digits(3)
    scene = new_scene(lambda: Standardise((0.3,), (0.35,), Mini().build((1, 28, 28), 62)), rate=0.3, mean_image=mean)
    model = scene.build()
    initialise(model, "he", torch.Generator().manual_seed(0))
    scene.weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    scene.facts = replace(scene.facts, lr=0.01)
    seen = [client_of(scene, images[v : v + 1], labels[v : v + 1], [[0]] * 5) for v in range(3)]

    def score(unroll: bool) -> float:
        attack = SGI(iterations=200, starts=("mean",), tv=(1e-3,), unroll=unroll)
        guesses = attack.reconstruct(seen, torch.Generator().manual_seed(0), lambda share, loss=None: None)
        return psnr(torch.cat([guess.images for guess in guesses]), images)

    assert score(True) >= score(False) + 2
