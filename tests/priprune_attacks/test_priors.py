"""Priors, latents and batch-norm statistics by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_attacks.batch_norm import BatchNormStatistics, known_statistics
from priprune_attacks.latent import Bicubic
from priprune_attacks.penalties import weighted
from priprune_attacks.priors import group_consistency, l2_norm


def test_group_consistency_is_the_distance_to_the_mean_of_the_restarts() -> None:
    # One victim, two restarts of one image of two pixels: 0, 0 and 1, 0; their mean is .5, 0.
    images = torch.tensor([[0.0, 0.0], [1.0, 0.0]]).view(1, 2, 1, 1, 1, 2)
    assert group_consistency(images).tolist() == [[0.125, 0.125]]
    assert group_consistency(images[:, :1]).tolist() == [[0.0]]


def test_a_restart_is_pulled_to_the_mean_and_not_through_the_others() -> None:
    images = torch.rand(1, 3, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (pull,) = torch.autograd.grad(group_consistency(images).sum(), images)
    towards = 2 * (images - images.mean(1, keepdim=True)).detach() / 16
    torch.testing.assert_close(pull, towards)


def test_a_prior_becomes_a_penalty_by_its_weight() -> None:
    images = torch.full((1, 1, 2, 1, 2, 2), 2.0)
    assert weighted(0.5, l2_norm)(images, nn.Identity(), []).item() == 4.0


@pytest.mark.parametrize(("scale", "size"), [(2, (28, 28)), (4, (32, 32)), (2, (7, 9))])
def test_a_constant_image_passes_the_bicubic_latent_unchanged(scale: int, size: tuple[int, int]) -> None:
    latent = Bicubic(scale, size)
    images = torch.full((2, 3, 4, 1, *size), 0.4)
    small = latent.encode(images)
    assert small.shape == (2, 3, 4, 1, -(-size[0] // scale), -(-size[1] // scale))
    torch.testing.assert_close(latent.decode(small), images)


def test_decoded_images_stay_in_range() -> None:
    checks = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).view(1, 1, 1, 1, 2, 2)
    decoded = Bicubic(4, (8, 8)).decode(checks)
    assert decoded.min() == 0.0
    assert decoded.max() == 1.0


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5), nn.BatchNorm1d(5)
    )


@pytest.fixture
def seen(new_scene: Callable[..., Any]) -> tuple[Any, Tensor, nn.Module]:
    """An upload with the buffers of one step in training mode, its images, and the model."""
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    victim = new_scene(normed, (1, 8, 8), 5)
    model = normed()
    before = {name: value.clone() for name, value in model.named_buffers()}
    with torch.no_grad():
        for parameter, value in zip(
            model.parameters(), victim.facts.layout.unflatten(victim.broadcast).values(), strict=True
        ):
            parameter.copy_(value)
    model(images)
    after = {name: value.clone() for name, value in model.named_buffers()}
    observation = replace(victim.observe(images, torch.arange(4)), broadcast_buffers=before, buffers=after)
    return observation, images, model.requires_grad_(False)


def test_one_step_gives_the_statistics_of_the_batch_away(seen: tuple[Any, Tensor, nn.Module]) -> None:
    observation, images, model = seen
    norms = {name: module for name, module in model.named_modules() if "BatchNorm" in type(module).__name__}
    known = known_statistics(norms, observation, "upload")
    assert known is not None
    inputs = model[0](images)
    torch.testing.assert_close(known["1"][0], inputs.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(known["1"][1], inputs.var((0, 2, 3)), atol=1e-5, rtol=1e-4)
    penalty = BatchNormStatistics(1.0)
    right = penalty(images.view(1, 1, 4, 1, 8, 8), model, [observation])
    assert right.item() < 1e-4
    assert penalty(1.0 - images.view(1, 1, 4, 1, 8, 8), model, [observation]).item() > 100 * right.item()


def test_the_broadcast_statistics_are_the_running_ones(seen: tuple[Any, Tensor, nn.Module]) -> None:
    observation, _, model = seen
    known = known_statistics({"1": model[1]}, observation, "broadcast")
    assert known is not None
    assert known["1"][0].tolist() == [0.0, 0.0, 0.0]
    assert known["1"][1].tolist() == [1.0, 1.0, 1.0]


def test_after_several_steps_the_running_statistics_are_all_there_is(seen: tuple[Any, Tensor, nn.Module]) -> None:
    observation, _, model = seen
    several = replace(observation, facts=replace(observation.facts, local_steps=2), num_samples=8)
    known = known_statistics({"1": model[1]}, several, "upload")
    assert known is not None
    assert torch.equal(known["1"][0], observation.buffers["1.running_mean"])


def test_without_buffers_or_norms_the_penalty_is_zero(seen: tuple[Any, Tensor, nn.Module]) -> None:
    observation, images, model = seen
    rows = images.view(1, 1, 4, 1, 8, 8)
    assert BatchNormStatistics(1.0)(rows, model, [replace(observation, buffers={})]).tolist() == [[0.0]]
    assert BatchNormStatistics(1.0)(rows, nn.Flatten(), [observation]).tolist() == [[0.0]]
