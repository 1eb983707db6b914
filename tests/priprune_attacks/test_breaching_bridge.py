"""The bridge to breaching; run where it is installed (the extra ``breaching``)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from priprune_attacks.breaching_bridge import Breaching
from priprune_plugins import Observation, Reconstruction, ScenarioError
from priprune_plugins.models.small import Mini
from priprune_plugins.models.standardise import Standardise
from priprune_plugins.testing import check_attack

installed = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("breaching"),
    reason="breaching is not installed: uv run --extra breaching",
)


def mini() -> nn.Module:
    return Standardise((0.3,), (0.35,), Mini().build((1, 28, 28), 62))


def attacked(attack: Breaching, seen: list[Observation], shares: list[Any] | None = None) -> list[Reconstruction]:
    def progress(share: float, loss: float | None = None) -> None:
        if shares is not None:
            shares.append((share, loss))

    return attack.reconstruct(seen, torch.Generator().manual_seed(0), progress)


@pytest.fixture
def seen(new_scene: Callable[..., Any], some_digits: Callable[..., Any]) -> list[Observation]:
    images, labels, mean = some_digits(2)
    scene = new_scene(mini, mean_image=mean)
    return [scene.observe(images[i : i + 1], labels[i : i + 1], i) for i in range(2)]


@pytest.mark.skipif(
    bool(__import__("importlib.util").util.find_spec("breaching")), reason="breaching is installed here"
)
def test_without_breaching_the_extra_is_named(seen: list[Observation]) -> None:
    with pytest.raises(ScenarioError, match=r"which is not installed: .*uv run --extra breaching"):
        attacked(Breaching(), seen)


@installed
def test_invertinggradients_sees_grey_images_and_keeps_the_generators(
    seen: list[Observation], some_digits: Callable[..., Any], psnr: Callable[..., float]
) -> None:
    shares: list[Any] = []
    torch.manual_seed(3)
    before = torch.get_rng_state()
    guesses = attacked(
        Breaching(iterations=150, overrides=("regularization.total_variation.scale=0.01",)), seen, shares
    )
    assert torch.equal(before, torch.get_rng_state())
    truth, labels, mean = some_digits(2)
    images = torch.cat([guess.images for guess in guesses])
    assert images.shape == truth.shape and float(images.min()) >= 0 and float(images.max()) <= 1
    assert psnr(images, truth) > psnr(mean.expand_as(truth), truth) + 2
    assert [int(guess.labels) for guess in guesses if guess.labels is not None] == labels.tolist()
    assert all(len(guess.trace) == 150 and guess.trace[-1] < guess.trace[0] for guess in guesses)
    assert shares[0][1] is not None and shares[-1] == (1.0, None)
    again = attacked(Breaching(iterations=150, overrides=("regularization.total_variation.scale=0.01",)), seen)
    assert all(torch.equal(one.images, two.images) for one, two in zip(guesses, again, strict=True))


@installed
def test_a_joint_attack_gives_no_labels(seen: list[Observation]) -> None:
    (guess,) = attacked(Breaching(config="deepleakage", iterations=2, overrides=("regularization=null",)), seen[:1])
    assert guess.labels is None and guess.failed is None


@installed
def test_true_labels_are_those_that_the_host_granted(seen: list[Observation]) -> None:
    granted = replace(seen[0], labels=torch.tensor([7]))
    (guess,) = attacked(Breaching(iterations=2, labels="true"), [granted])
    assert guess.labels is not None and guess.labels.tolist() == [7]


@installed
@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (Breaching(config="analytic"), "is of type analytic; allowed: optimization, joint-optimization"),
        (Breaching(config="invertngradients"), "config 'invertngradients' cannot be read"),
        (Breaching(config="modern"), "needs 3 channels, the images have 1"),
    ],
    ids=lambda value: getattr(value, "config", ""),
)
def test_what_breaching_cannot_do_is_said(attack: Breaching, message: str, seen: list[Observation]) -> None:
    with pytest.raises(ScenarioError, match=message):
        attacked(attack, seen)


@installed
def test_an_interrupt_is_not_swallowed(seen: list[Observation]) -> None:
    calls = []

    def progress(share: float, loss: float | None = None) -> None:
        calls.append(share)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Breaching(iterations=200).reconstruct(seen, torch.Generator().manual_seed(0), progress)
    assert len(calls) == 3


@installed
def test_the_contract_is_kept() -> None:
    check_attack(Breaching(iterations=2))


@installed
def test_an_upload_that_says_nothing_is_a_failure(seen: list[Observation]) -> None:
    (guess,) = attacked(Breaching(iterations=2), [replace(seen[0], upload=seen[0].broadcast)])
    assert guess.failed == "the pseudo-gradient is zero at every compared coordinate"
