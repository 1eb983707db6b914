"""DLG, iDLG, GradInversion and ROG as plugins, and the figures that they reach."""

import importlib.util
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_attacks.dlg import DLG
from priprune_attacks.gi import GI
from priprune_attacks.gradinversion import GradInversion
from priprune_attacks.idlg import IDLG
from priprune_attacks.rog import ROG
from priprune_attacks.sgi import SGI
from priprune_plugins import LabelledSet, Observation, Reconstruction, ScenarioError
from priprune_plugins.data.cifar10 import Cifar10
from priprune_plugins.data.digits import Digits
from priprune_plugins.data.images import ImageData
from priprune_plugins.generators import generator
from priprune_plugins.models.lenet import LeNetDLG
from priprune_plugins.models.small import Mini
from priprune_plugins.models.standardise import Standardise
from priprune_plugins.testing import check_attack

ROOT = Path(__file__).resolve().parents[2]
ATTACKS = {
    "dlg": DLG(iterations=6, draws=1),
    "idlg": IDLG(iterations=6, draws=1),
    "gradinversion": GradInversion(iterations=6),
    "rog": ROG(iterations=6, steps=3),
}


def my_attack() -> Any:
    spec = importlib.util.spec_from_file_location("my_attack", ROOT / "examples/my_attack.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ATTACKS)
def test_it_keeps_the_contract(name: str) -> None:
    check_attack(ATTACKS[name])


def test_the_example_of_forty_lines_keeps_the_contract() -> None:
    source = (ROOT / "examples/my_attack.py").read_text(encoding="utf-8")
    assert len([line for line in source.splitlines() if line.strip()]) <= 45
    check_attack(my_attack().LayerwiseMatching(iterations=6))


@pytest.mark.parametrize(
    "make", [lambda: DLG(starts=()), lambda: ROG(tv=()), lambda: GradInversion(starts=()), lambda: IDLG(starts=())]
)
def test_nothing_to_try_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ScenarioError, match="must hold at least one value"):
        make()


def quiet(share: float, loss: float | None = None) -> None:
    pass


def attacked(attack: Any, seen: Sequence[Observation], seed: int = 0) -> list[Reconstruction]:
    return list(attack.reconstruct(seen, torch.Generator().manual_seed(seed), quiet))


def psnr(guess: Reconstruction, image: Tensor) -> float:
    return float(-10 * (guess.images - image).square().mean().log10())


class Clients:
    """A fresh net and clients with one image each; the net takes raw or standardised images."""

    def __init__(self, scene: Callable[..., Any], plugin: Any, data: ImageData, count: int, standardised: bool) -> None:
        shape, classes = data.image_shape, data.num_classes
        norm = (data.mean, data.std) if standardised else ((0.0,) * shape[0], (1.0,) * shape[0])

        def build() -> nn.Module:
            return Standardise(*norm, plugin.build(shape, classes))

        self.images, self.labels = data.train_images[:count], data.train_labels[:count]
        self.scene = scene(build, shape, classes, mean_image=data.test_images.mean(0))
        if hasattr(plugin, "initialise"):
            model = build()
            plugin.initialise(model, generator(0, "init"))
            self.scene.weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        self.public = LabelledSet(data.test_images[:200], data.test_labels[:200])

    def seen(self) -> list[Observation]:
        rows = zip(self.images.split(1), self.labels.split(1), strict=True)
        return [self.scene.observe(image, label, index) for index, (image, label) in enumerate(rows)]

    def score(self, attack: Any, public: bool = False) -> list[float]:
        seen = [replace(one, public=self.public if public else None) for one in self.seen()]
        return [psnr(guess, image) for guess, image in zip(attacked(attack, seen), self.images, strict=True)]


@pytest.fixture
def digits(new_scene: Callable[..., Any]) -> Callable[..., Clients]:
    return lambda plugin, count: Clients(new_scene, plugin, Digits(num_classes=62).load(), count, standardised=True)


def test_dlg_reports_the_labels_that_it_found_and_scores_restarts_by_its_final_loss(
    digits: Callable[..., Clients],
) -> None:
    clients = digits(LeNetDLG(), 2)
    attack = DLG(iterations=60, starts=("mean", "normal"), draws=1)
    for seed in (0, 1):
        for guess, label in zip(attacked(attack, clients.seen(), seed), clients.labels, strict=True):
            assert guess.labels is not None
            assert guess.labels.item() == label.item()
            # Best is the loss at the reported iterate, which the trace of the same restart holds.
            assert guess.loss == guess.trace.min().item()


def test_idlg_labels_are_those_of_the_images_for_every_class(digits: Callable[..., Clients]) -> None:
    clients = digits(LeNetDLG(), 30)
    assert len(set(clients.labels.tolist())) == 10
    guesses = attacked(IDLG(iterations=1, starts=("mean",), draws=1), clients.seen())
    assert [int(guess.labels) for guess in guesses if guess.labels is not None] == clients.labels.tolist()
    clients.labels = torch.arange(30) * 2
    guesses = attacked(IDLG(iterations=1, starts=("mean",), draws=1), clients.seen())
    assert [int(guess.labels) for guess in guesses if guess.labels is not None] == clients.labels.tolist()


def test_true_labels_are_taken_only_where_the_host_grants_them(digits: Callable[..., Clients]) -> None:
    seen = digits(Mini(), 1).seen()
    attack = GI(iterations=1, starts=("mean",), tv=(0.0,), labels="true")
    with pytest.raises(ScenarioError, match="labels: true needs the true labels"):
        attacked(attack, seen)
    (guess,) = attacked(attack, [replace(seen[0], labels=torch.tensor([41]))])
    assert guess.labels is not None
    assert guess.labels.tolist() == [41]


def test_rog_without_public_images_says_that_nothing_is_sharpened(
    digits: Callable[..., Clients], caplog: pytest.LogCaptureFixture
) -> None:
    clients = digits(Mini(), 1)
    attack = ROG(iterations=2, steps=2)
    with caplog.at_level(logging.INFO):
        (plain,) = attacked(attack, clients.seen())
    assert "no public images" in caplog.text
    (off,) = attacked(replace(attack, steps=0), clients.seen())
    assert torch.equal(plain.images, off.images)
    (sharpened,) = attacked(attack, [replace(clients.seen()[0], public=clients.public)])
    assert not torch.equal(sharpened.images, plain.images)
    assert sharpened.loss == pytest.approx(plain.loss, rel=1e-3)


@pytest.mark.slow
def test_dlg_reaches_20_db_from_half_of_the_papers_starts(new_scene: Callable[..., Any], shared: Path) -> None:
    data = Cifar10(root=str(shared / "data/cifar10")).load()
    clients = Clients(new_scene, LeNetDLG(), data, 8, standardised=False)
    # Two thousand evaluations are the hundred outer steps of twenty that the authors' code makes.
    paper = DLG(iterations=2000, starts=("normal",), draws=1, lr=1.0)
    scores = clients.score(paper)
    assert sum(score >= 20 for score in scores) >= 4
    # Restarts chosen by their own loss mend most that diverge.
    assert sum(score >= 20 for score in clients.score(DLG())) >= 7


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "least"), [(DLG(), 40.0), (IDLG(), 40.0), (GradInversion(), 22.0), (ROG(), 26.0)])
def test_digits_of_lenet_are_recovered_behind_standardisation(
    digits: Callable[..., Clients], attack: Any, least: float
) -> None:
    scores = digits(LeNetDLG(), 3).score(attack)
    assert sum(scores) / 3 >= least


@pytest.mark.slow
def test_on_mini_the_cosine_attacks_see_the_digits(digits: Callable[..., Clients]) -> None:
    clients = digits(Mini(), 3)
    assert sum(clients.score(GradInversion())) / 3 >= 20
    blurred, sharp = (sum(clients.score(ROG(), public=public)) / 3 for public in (False, True))
    assert blurred >= 25
    assert sharp > blurred
    assert sum(clients.score(SGI(labels="both"))) / 3 >= 18


@pytest.mark.slow
def test_the_example_sees_the_digits(digits: Callable[..., Clients]) -> None:
    assert sum(digits(Mini(), 3).score(my_attack().LayerwiseMatching())) / 3 >= 15
