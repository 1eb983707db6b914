"""Attackers of many uploads against clients that hold back, on real digits: `mini`, He weights, one image each time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_attacks.age_aware import AgeAware
from priprune_attacks.gi import GI
from priprune_attacks.joint_inversion import JointInversion
from priprune_attacks.sum_identification import SumIdentification
from priprune_plugins import LabelledSet, Observation, ScenarioError
from priprune_plugins.testing import check_attack

QUICK: dict[str, Any] = {"iterations": 60, "labels": "true"}


def quiet(share: float, loss: float | None = None) -> None:
    pass


@dataclass
class HoldingBack:
    """One client of four participations that sends nothing at first, and later sums; times do not depend on data."""

    images: Tensor
    labels: Tensor
    observations: list[Observation]

    def among(self, attacked: int) -> Observation:
        seen = self.observations
        return replace(seen[attacked], earlier=seen[:attacked], later=seen[attacked + 1 :])

    def psnr_db(self, attack: Any, attacked: int) -> float:
        (guess,) = attack.reconstruct([self.among(attacked)], torch.Generator().manual_seed(0), quiet)
        assert guess.failed is None and guess.images.shape == (1, 1, 28, 28)
        return float(-10 * (guess.images - self.images[attacked]).square().mean().log10())

    def ranks(self, attack: SumIdentification, attacked: int, decoys: LabelledSet) -> int:
        images = torch.cat([self.images[attacked : attacked + 1], decoys.images])
        labels = torch.cat([self.labels[attacked : attacked + 1], decoys.labels])
        (scores,) = attack.identify([self.among(attacked)], [LabelledSet(images, labels)], quiet)
        assert scores.shape == (len(images),)
        return 1 + int((scores[1:] >= scores[0]).sum())


@pytest.fixture
def client(new_scene: Callable[..., Any], some_digits: Callable[..., Any]) -> HoldingBack:
    images, labels, mean = some_digits(4)
    draws, held, seen = torch.Generator().manual_seed(0), 0.0, []
    for index in range(4):
        scene = new_scene(seed=index // 2, mean_image=mean)
        image, label = images[index : index + 1], labels[index : index + 1]
        held = held + scene.gradient(image, label)
        sent = (torch.rand(held.shape, generator=draws) < 0.5) if index >= 2 else torch.zeros_like(held).bool()
        upload = torch.where(sent, scene.broadcast - scene.facts.lr * held, 0.0)
        held = held * ~sent
        seen.append(replace(scene.observe(image, label), upload=upload, round_idx=index, labels=label))
    return HoldingBack(images, labels, seen)


@pytest.fixture
def decoys(some_digits: Callable[..., Any]) -> LabelledSet:
    return LabelledSet(*some_digits(49, 100)[:2])


@pytest.mark.parametrize("attack", [JointInversion(iterations=3), AgeAware(iterations=3), SumIdentification()])
def test_the_attacks_keep_the_contract(attack: Any) -> None:
    check_attack(attack)


@pytest.mark.parametrize("labels", ["count", "joint", "true"])
def test_without_others_around_it_joint_inversion_is_gi_with_the_known_mask(
    new_scene: Callable[..., Any], some_digits: Callable[..., Any], labels: Any
) -> None:
    images, truth, mean = some_digits(2)
    scene = new_scene(rate=0.3, mean_image=mean.double(), dtype=torch.float64)
    seen = replace(scene.observe(images, truth), labels=truth.sort().values)
    same: dict[str, Any] = {"iterations": 10, "labels": labels, "starts": ("mean",), "tv": (3e-3,)}
    attacks = GI(mask="known", reference="broadcast", **same), JointInversion(**same)
    one, other = (attack.reconstruct([seen], torch.Generator().manual_seed(3), quiet)[0] for attack in attacks)
    assert torch.allclose(one.images, other.images, atol=1e-6)
    assert one.loss == pytest.approx(other.loss, rel=1e-6) and torch.equal(one.labels, other.labels)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(49, 32), nn.Sigmoid(), nn.Linear(32, 10))


def test_both_images_of_a_sum_of_two_participations_are_found(
    new_scene: Callable[..., Any], some_digits: Callable[..., Any], psnr: Callable[..., float]
) -> None:
    images, truth, mean = (part[..., ::4, ::4] if part.dim() > 1 else part for part in some_digits(2))
    seen, held = [], 0.0
    for index in (0, 1):
        scene = new_scene(perceptron, (1, 7, 7), 10, seed=index, mean_image=mean)
        one = slice(index, index + 1)
        held = held + scene.gradient(images[one], truth[one])
        upload = scene.broadcast - scene.facts.lr * held * index
        seen.append(replace(scene.observe(images[one], truth[one]), upload=upload, labels=truth[one], round_idx=index))
    client = HoldingBack(images, truth, seen)
    attack = JointInversion(labels="true", iterations=200, starts=("mean",), tv=(1e-3,))
    for attacked in (0, 1):
        (guess,) = attack.reconstruct([client.among(attacked)], torch.Generator().manual_seed(0), quiet)
        assert guess.notes == {"participations": 2.0, "numbers_a_coordinate": 1.0}
        assert psnr(guess.images, images[attacked : attacked + 1]) > 40


@pytest.mark.slow
def test_images_are_found_from_uploads_after_theirs(client: HoldingBack) -> None:
    # Nothing at all was sent in the participation that is attacked.
    assert not client.observations[1].upload.any()
    mean = client.observations[1].facts.mean_image
    floor = float(-10 * (mean - client.images[1]).square().mean().log10())
    assert client.psnr_db(JointInversion(releases="recovered", **QUICK), 1) > floor + 4
    assert client.psnr_db(JointInversion(**QUICK), 1) > floor + 1


@pytest.mark.parametrize("releases", ["unknown", "recovered"])
def test_true_labels_stay(client: HoldingBack, releases: Any) -> None:
    attack = JointInversion(releases=releases, iterations=20, labels="true")
    (guess,) = attack.reconstruct([client.among(1)], torch.Generator(), quiet)
    assert guess.labels is not None and guess.labels.tolist() == client.labels[1:2].tolist()


def test_nothing_is_found_where_nothing_was_sent(client: HoldingBack) -> None:
    alone = replace(client.observations[1], earlier=client.observations[:1])
    (guess,) = JointInversion(releases="recovered").reconstruct([alone], torch.Generator(), quiet)
    assert guess.failed == "nothing was sent that the attack can use"
    (scores,) = SumIdentification(releases="recovered").identify(
        [alone], [LabelledSet(client.images, client.labels)], quiet
    )
    assert scores.isnan().all()


def test_age_aware_models_the_batches_of_the_numbers_that_it_keeps(client: HoldingBack) -> None:
    for most, batches, share in ((1, 1, 0.25), (4, 4, 0.5)):
        attack = AgeAware(most_batches=most, iterations=2, labels="true")
        (guess,) = attack.reconstruct([client.among(3)], torch.Generator(), quiet)
        assert guess.notes["participations"] == batches
        assert guess.notes["numbers_a_coordinate"] == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("releases", ["unknown", "recovered"])
def test_an_image_is_named_by_what_was_sent_later(client: HoldingBack, decoys: LabelledSet, releases: Any) -> None:
    assert client.ranks(SumIdentification(releases=releases), 1, decoys) == 1


def test_the_same_batch_again_and_again_is_named_by_all_participations(
    new_scene: Callable[..., Any], some_digits: Callable[..., Any], decoys: LabelledSet
) -> None:
    images, labels, _ = some_digits(1)
    scenes = [new_scene(seed=seed) for seed in range(3)]
    gradients = torch.stack([scene.gradient(images, labels) for scene in scenes])
    noise = 3 * gradients.std() * torch.randn(gradients.shape, generator=torch.Generator().manual_seed(0))
    seen = [
        replace(scene.observe(images, labels), upload=scene.broadcast - scene.facts.lr * row, round_idx=index)
        for index, (scene, row) in enumerate(zip(scenes, gradients + noise, strict=True))
    ]
    same = HoldingBack(images.expand(3, -1, -1, -1), labels.expand(3), seen)
    assert same.ranks(SumIdentification(repeated=True), 2, decoys) == 1


def test_labels_that_were_not_granted_are_refused(client: HoldingBack) -> None:
    blind = replace(client.among(3), labels=None)
    with pytest.raises(ScenarioError, match="use labels: count"):
        JointInversion(labels="true").reconstruct([blind], torch.Generator(), quiet)


def test_nothing_to_try_is_refused() -> None:
    with pytest.raises(ScenarioError, match="tv must hold at least one value"):
        AgeAware(tv=())
