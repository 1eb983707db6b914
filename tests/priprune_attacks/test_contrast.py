"""Gain and offset fitted to the size of a gradient; labels that the search may or may not move."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from priprune_attacks.contrast import fit_contrast
from priprune_attacks.gradients import FactoredGradients
from priprune_attacks.groups import grouped
from priprune_attacks.labels import counted, granted
from priprune_attacks.matching import match
from priprune_attacks.objectives import Products
from priprune_attacks.optimise import Descent
from priprune_attacks.recipe import Recipe
from priprune_attacks.target_batch import TargetBatch
from priprune_attacks.targets import pseudo_gradient
from priprune_plugins import Observation


def quiet(share: float, loss: float | None = None) -> None:
    pass


@pytest.fixture
def two_images(new_scene: Callable[..., Any], some_digits: Callable[..., Any]) -> tuple[Tensor, Any]:
    """Two digits of one upload, and what compares guesses at them with it."""
    images, labels, _ = some_digits(2)
    seen = new_scene().observe(images, labels)
    (group,) = grouped([(0, seen)], pseudo_gradient, counted, 0, "fp32")
    targets = TargetBatch([pseudo_gradient(seen)], group.facts.layout)
    one_hot = functional.one_hot(labels, 62).float()[None, None]

    def products(guess: Tensor) -> Products:
        return group.gradients.products(guess, one_hot, targets)

    return images, products


def test_contrast_of_each_image_is_found(two_images: tuple[Tensor, Any]) -> None:
    images, products = two_images
    faded = torch.stack([0.5 * images[0] + 0.05, 0.8 * images[1] + 0.02])
    found = fit_contrast(products, faded[None, None])[0, 0]
    for image, before, after in zip(images, faded, found, strict=True):
        assert (after - image).square().mean() < 0.02 * (before - image).square().mean()


def test_images_of_the_right_contrast_and_of_a_wrong_direction_stay(two_images: tuple[Tensor, Any]) -> None:
    images, products = two_images
    right = images[None, None]
    assert torch.allclose(fit_contrast(products, right), right, atol=5e-3)
    wrong = torch.rand(right.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fit_contrast(products, wrong), wrong)


@pytest.mark.parametrize("relaxed", [False, True])
def test_only_a_relaxed_search_moves_known_labels_and_judges_by_them_as_they_were(
    new_scene: Callable[..., Any],
    some_digits: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    relaxed: bool,
) -> None:
    images, labels, _ = some_digits(1)
    seen: Observation = replace(new_scene().observe(images, labels), labels=labels)
    compared: list[Tensor] = []
    products = FactoredGradients.products

    def watched(self: FactoredGradients, guess: Tensor, probabilities: Tensor, targets: TargetBatch) -> Products:
        compared.append(probabilities.detach().clone())
        return products(self, guess, probabilities, targets)

    monkeypatch.setattr(FactoredGradients, "products", watched)
    recipe = Recipe(labels=granted, descent=Descent(5), relaxed=relaxed)
    (guess,) = match([seen], recipe, torch.Generator().manual_seed(0), quiet)
    one_hot = functional.one_hot(labels, 62).float()[None, None]
    moved = [not torch.equal(one, one_hot) for one in compared[-5:]]
    assert any(moved) is relaxed
    assert not moved[-1]
    assert guess.labels is not None
    assert torch.equal(guess.labels, labels)
