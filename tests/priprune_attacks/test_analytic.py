"""The analytic attack on real digits: what one upload gives in closed form."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_attacks.analytic import Analytic
from priprune_attacks.layer_inputs import linear_layer
from priprune_attacks.representations import representation
from priprune_attacks.shared_model import model_at
from priprune_plugins import Observation, Reconstruction, ScenarioError
from priprune_plugins.generators import generator
from priprune_plugins.models.initialise import initialise
from priprune_plugins.models.leaf import Conv2
from priprune_plugins.models.small import MLP, Mini
from priprune_plugins.models.standardise import Standardise
from priprune_plugins.privacy.matching import match
from priprune_plugins.testing import check_attack

Withhold = Callable[[Tensor], Tensor]


def attack(seen: list[Observation], plugin: Analytic | None = None) -> list[Reconstruction]:
    return (plugin or Analytic()).reconstruct(seen, torch.Generator().manual_seed(0), lambda share, loss=None: None)


class Bench:
    """A model of ours at He initialisation, and digits."""

    def __init__(self, new_scene: Callable[..., Any], digits: Callable[..., Any], plugin: Any, rate: float) -> None:
        def build() -> nn.Module:
            return Standardise((0.3,), (0.35,), plugin.build((1, 28, 28), 62))

        self.digits, mean = digits, digits(1)[2]
        self.scene = new_scene(build, rate=rate, mean_image=mean)
        self.scene.facts = replace(self.scene.facts, lr=0.25)
        model = build()
        initialise(model, "he", generator(0, "init"))
        self.scene.weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    def observe(
        self, batch: int = 1, victim: int = 0, withhold: Withhold | None = None
    ) -> tuple[Observation, Tensor, Tensor]:
        images, labels, _ = self.digits(batch, victim * batch)
        return self.scene.observe(images, labels, victim, withhold), images, labels

    def true_input(self, images: Tensor) -> Tensor:
        model = model_at(self.scene.facts, self.scene.broadcast, {})
        layer = linear_layer(model, self.scene.facts.layout)
        assert layer is not None
        with torch.no_grad():
            return representation(model, layer.name, images, "input")

    def biases(self) -> Tensor:
        layout = self.scene.facts.layout
        return layout.spread(torch.tensor([name.endswith("bias") for name in layout.names]))


@pytest.fixture
def bench(new_scene: Callable[..., Any], some_digits: Callable[..., Any]) -> Callable[..., Bench]:
    return lambda plugin, rate=0.0: Bench(new_scene, some_digits, plugin, rate)


def db(guess: Tensor, truth: Tensor) -> list[float]:
    matched = guess[match(truth, guess)]
    mse = (matched - truth).square().flatten(1).mean(1).clamp_min(1e-12)
    return [float(value) for value in -10 * mse.log10()]


def test_keeps_the_contract() -> None:
    check_attack(Analytic(iterations=10, tv=(0.0,)))


@pytest.mark.slow
def test_conv2_gives_its_image_from_the_upload(bench: Callable[..., Bench]) -> None:
    for rate, least in ((0.0, 60.0), (0.3, 45.0)):
        rows = [bench(Conv2(), rate).observe(victim=victim) for victim in range(2)]
        for guess, (_, images, labels) in zip(attack([seen for seen, _, _ in rows]), rows, strict=True):
            assert min(db(guess.images, images)) >= least
            assert guess.labels is not None and guess.labels.tolist() == labels.tolist()


@pytest.mark.slow
def test_conv2_without_any_bias_under_random_withholding_gives_its_image(
    bench: Callable[..., Bench], withheld: dict[str, Callable[..., Tensor]]
) -> None:
    scene = (held := bench(Conv2(), 0.3)).scene
    seen, images, labels = held.observe(
        withhold=lambda update: withheld["random"](update, scene.facts.layout, scene.mask, 0.3) | held.biases()
    )
    (guess,) = attack([seen])
    assert min(db(guess.images, images)) >= 45
    assert guess.labels is not None and guess.labels.tolist() == labels.tolist()


@pytest.mark.slow
def test_conv2_gives_every_image_of_a_batch_of_four(bench: Callable[..., Bench]) -> None:
    seen, images, labels = bench(Conv2(), 0.3).observe(4)
    (guess,) = attack([seen])
    assert min(db(guess.images, images)) >= 45
    assert guess.labels is not None and sorted(guess.labels.tolist()) == sorted(labels.tolist())


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_withholding_by_size_at_theta_leaves_the_input_in_the_open(rate: float, bench: Callable[..., Bench]) -> None:
    held = bench(Mini(), rate)
    layout = held.scene.facts.layout

    def theta(update: Tensor) -> Tensor:
        means = [part.abs().mean() for part in layout.layers(update)]
        return update.abs() > 1.3 * layout.spread(torch.stack(means))

    seen, images, _ = held.observe(withhold=theta)
    (guess,) = attack([seen], Analytic(iterations=150))
    mass = (seen.upload - seen.broadcast).abs()[seen.upload != 0].sum() / (
        held.scene.gradient(images, held.digits(1)[1]).abs().sum() * 0.25
    )
    assert float(mass) < 0.35
    assert guess.notes["features_known"] == 1.0
    assert guess.notes["layer_withheld_share"] < guess.notes["layer_nonzero_share"]
    assert min(db(guess.images, images)) >= 20


def test_withholding_the_largest_closes_it_above_the_nonzero_share_and_not_below(bench: Callable[..., Bench]) -> None:
    held = bench(Mini())
    part = held.scene.facts.layout.slices[4]

    def largest(rate: float) -> Withhold:
        def withhold(update: Tensor) -> Tensor:
            hidden = torch.zeros_like(update, dtype=torch.bool)
            hidden[part][update[part].abs().topk(round(rate * update[part].numel())).indices] = True
            return hidden | held.biases()

        return withhold

    below, images, _ = held.observe(withhold=largest(0.28))
    above, _, _ = held.observe(withhold=largest(0.45))
    open_, closed = attack([below, above], Analytic(iterations=150))
    assert 0.28 < open_.notes["layer_nonzero_share"] < 0.45
    assert min(db(open_.images, images)) >= 20
    assert closed.failed == "nothing but zeros was received of the gradient of net.fc1"
    assert closed.notes["layer_withheld_share"] == pytest.approx(0.45, abs=0.01)


def test_inputs_of_a_whole_batch_come_from_a_pruned_upload_without_biases(bench: Callable[..., Bench]) -> None:
    held = bench(Mini(), 0.3)
    seen, _, labels = held.observe(8, withhold=lambda update: held.biases())
    (guess,) = attack([seen], Analytic(iterations=1, tv=(0.0,)))
    assert guess.notes["images_found"] == 8
    assert guess.labels is not None and sorted(guess.labels.tolist()) == sorted(labels.tolist())


@pytest.mark.slow
def test_conv2_gives_every_image_of_a_batch_of_twenty(bench: Callable[..., Bench]) -> None:
    seen, images, labels = bench(Conv2()).observe(20)
    (guess,) = attack([seen])
    assert min(db(guess.images, images)) >= 45
    assert guess.labels is not None and sorted(guess.labels.tolist()) == sorted(labels.tolist())


def test_a_net_of_linear_layers_gives_the_pixels_themselves(bench: Callable[..., Bench]) -> None:
    for batch in (1, 4):
        seen, images, _ = bench(MLP((64,)), 0.3).observe(batch)
        (guess,) = attack([seen])
        assert min(db(guess.images, images)) >= 90
        assert guess.trace.numel() == 0


def test_images_that_cannot_be_told_apart_are_the_mean_image(bench: Callable[..., Bench]) -> None:
    held = bench(Mini())
    images, labels, _ = held.digits(2)
    twice = images[:1].repeat(2, 1, 1, 1), labels[:1].repeat(2)
    (guess,) = attack([held.scene.observe(*twice)], Analytic(iterations=100, tv=(0.1,)))
    assert guess.notes["images_found"] <= 1
    if guess.failed is None:
        torch.testing.assert_close(guess.images[1], held.scene.facts.mean_image)
        assert guess.loss > 0.5


def test_several_steps_on_one_image_still_give_it(bench: Callable[..., Bench]) -> None:
    held = bench(Mini(), 0.3)
    images, labels, _ = held.digits(1, 1)
    scene = replace(held.scene, facts=replace(held.scene.facts, lr=0.01))
    seen = scene.observe(images, labels)
    for _ in range(4):
        scene = replace(scene, weights=seen.upload)
        seen = scene.observe(images, labels)
    facts = replace(seen.facts, local_steps=5)
    seen = replace(seen, broadcast=held.scene.broadcast, server_weights=held.scene.weights, facts=facts)
    (guess,) = attack([seen])
    assert min(db(guess.images, images)) >= 20


def test_a_layer_that_is_none_is_the_users_mistake_and_a_model_without_one_a_failure(
    bench: Callable[..., Bench], new_scene: Callable[..., Any], some_digits: Callable[..., Any]
) -> None:
    seen, images, labels = bench(Mini()).observe()
    with pytest.raises(ScenarioError, match=r"layer must name a Linear layer .* got 'conv1'; it has: net.fc1, net.fc2"):
        attack([seen], Analytic(layer="conv1"))

    def convolutions() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 10, 28), nn.Flatten())

    seen = new_scene(convolutions, num_classes=10).observe(images, labels)
    (guess,) = attack([seen])
    assert guess.failed == "the model has no Linear layer, whose input a gradient would give"
    assert guess.images.shape == (1, 1, 28, 28)


def test_the_same_call_gives_the_same_bits(bench: Callable[..., Bench]) -> None:
    seen, _, _ = bench(Mini()).observe(2)
    plugin = Analytic(iterations=5)
    first, second = (attack([seen], plugin)[0] for _ in range(2))
    assert torch.equal(first.images, second.images) and first.loss == second.loss
