"""The count solve on fresh nets of the model table: exact where the softmax is flat, nearly so with He's weights."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_attacks.labels import count_guesses, count_labels
from priprune_attacks.last_layer import LastLayer
from priprune_attacks.targets import Target
from priprune_plugins import Facts, LabelledSet, Layout
from priprune_plugins.data.cifar10 import Cifar10
from priprune_plugins.data.digits import Digits
from priprune_plugins.data.images import ImageData
from priprune_plugins.generators import generator
from priprune_plugins.models.build import build_model
from priprune_plugins.models.initialise import Init
from priprune_plugins.models.leaf import Conv1, Conv2
from priprune_plugins.models.lenet import LeNet5, LeNetDLG
from priprune_plugins.models.small import MLP, Mini, Small14
from priprune_plugins.models.vgg import VGG4, VGG6, VGG9

BATCHES = (1, 4, 16, 64)
SMALL = {"mini": Mini(), "mlp": MLP(), "lenet5": LeNet5(), "lenet_dlg": LeNetDLG(), "small14": Small14()}


class Fresh:
    """One fresh net of the table, a batch of real images, and what the upload tells of its last layer."""

    def __init__(self, plugin: Any, data: ImageData, init: Init | None, draw: int) -> None:
        self.data, self.draw = data, draw
        shape, classes = data.image_shape, data.num_classes
        self.model = build_model(plugin, shape, classes, data.mean, data.std, init, generator(draw, "init"))
        self.model.requires_grad_(False)
        layout = Layout.of(self.model)
        mean = data.test_images.mean(0)
        self.facts = Facts(lambda: self.model, layout, shape, classes, 0.1, 1, 1, None, "fedavg", mean)
        self.head = [module for module in self.model.modules() if isinstance(module, nn.Linear)][-1]

    def last(self, public: int = 0) -> LastLayer:
        chosen = LabelledSet(self.data.test_images[:public], self.data.test_labels[:public]) if public else None
        last = LastLayer.of(self.model, self.facts, generator(self.draw, "probe"), chosen)
        assert last is not None
        return last

    def upload(self, batch: int) -> tuple[Target, Tensor]:
        """The last layer's part of a float32 upload, all others 0, and the true labels, sorted."""
        draws = torch.randperm(len(self.data.train_labels), generator=generator(self.draw, "batch", batch))[:batch]
        labels = self.data.train_labels[draws]
        inputs: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
        deltas = self.model(self.data.train_images[draws]).softmax(-1)
        hook.remove()
        deltas = (deltas - functional.one_hot(labels, self.data.num_classes)) / batch
        head = torch.cat([(deltas.T @ inputs[0]).flatten(), deltas.sum(0)])
        weights = torch.cat([self.head.weight.flatten(), self.head.bias])
        gradient = torch.zeros(self.facts.layout.num_parameters)
        gradient[-head.numel() :] = (weights - (weights - 0.1 * head)) / 0.1
        return Target(gradient, gradient, None), labels.sort().values


def digits(name: str) -> ImageData:
    return Digits(size=14 if name == "small14" else 28, num_classes=10 if name == "lenet5" else 62).load()


def share_right(guess: Tensor, truth: Tensor) -> float:
    counts = (labels.bincount(minlength=100) for labels in (guess, truth))
    return float(torch.minimum(*counts).sum()) / len(truth)


@pytest.mark.parametrize("name", SMALL)
def test_labels_are_exact_with_default_weights(name: str) -> None:
    data = digits(name)
    for draw in range(10):
        fresh = Fresh(SMALL[name], data, "default", draw)
        for batch in BATCHES:
            target, truth = fresh.upload(batch)
            guess = count_labels(fresh.last(), target, batch)
            assert guess is not None
            assert torch.equal(guess, truth), f"draw {draw}, {batch} images"


@pytest.mark.slow
@pytest.mark.parametrize("plugin", [Conv1(), Conv2()], ids=["conv1", "conv2"])
def test_labels_are_exact_with_default_weights_in_larger_nets(plugin: Any) -> None:
    data = digits("conv")
    for draw in range(10):
        fresh = Fresh(plugin, data, "default", draw)
        for batch in BATCHES:
            target, truth = fresh.upload(batch)
            assert torch.equal(count_labels(fresh.last(), target, batch), truth)


@pytest.mark.slow
@pytest.mark.parametrize("plugin", [VGG4(), VGG6(), VGG9()], ids=["vgg4", "vgg6", "vgg9"])
def test_labels_of_photographs_are_exact_with_default_weights(plugin: Any, shared: Any) -> None:
    data = Cifar10(root=str(shared / "data/cifar10")).load()
    for draw in range(10):
        fresh = Fresh(plugin, data, "default", draw)
        for batch in BATCHES:
            target, truth = fresh.upload(batch)
            assert torch.equal(count_labels(fresh.last(), target, batch), truth)


@pytest.mark.parametrize("name", SMALL)
def test_small_batches_are_exact_with_the_models_own_weights(name: str) -> None:
    data = digits(name)
    for draw in range(10):
        fresh = Fresh(SMALL[name], data, None, draw)
        for batch in (1, 4):
            target, truth = fresh.upload(batch)
            assert torch.equal(count_labels(fresh.last(), target, batch), truth)


@pytest.mark.parametrize(("name", "least"), [("mini", 0.98), ("mlp", 0.98), ("lenet5", 0.90), ("small14", 0.90)])
def test_large_batches_are_nearly_exact_with_he_weights(name: str, least: float) -> None:
    data, right = digits(name), []
    for draw in range(10):
        fresh = Fresh(SMALL[name], data, None, draw)
        target, truth = fresh.upload(64)
        guess = count_labels(fresh.last(), target, 64)
        assert guess is not None
        right.append(share_right(guess, truth))
    assert sum(right) / 10 >= least


def test_public_images_make_the_counts_better() -> None:
    data = digits("lenet5")
    with_public, without = [], []
    for draw in range(10):
        fresh = Fresh(LeNet5(), data, None, draw)
        target, truth = fresh.upload(64)
        for public, right in ((100, with_public), (0, without)):
            guess = count_labels(fresh.last(public), target, 64)
            assert guess is not None
            right.append(share_right(guess, truth))
    assert sum(with_public) > sum(without)
    assert sum(with_public) / 10 >= 0.95


def test_one_image_has_the_class_of_the_negative_entry_for_every_class() -> None:
    data = digits("mini")
    fresh = Fresh(Mini(), data, None, 0)
    last = fresh.last()
    images = data.train_images[torch.arange(62)]
    logits = fresh.model(images)
    for label in range(62):
        delta = logits[label].softmax(-1) - functional.one_hot(torch.tensor(label), 62)
        gradient = torch.zeros(fresh.facts.layout.num_parameters)
        gradient[last.bias] = delta
        gradient[last.weight] = delta.outer(last.features).flatten()
        assert count_labels(last, Target(gradient, gradient, None), 1) == torch.tensor([label])


def test_further_guesses_move_one_image_and_come_only_where_the_count_is_unsure() -> None:
    data = digits("lenet5")
    flat = Fresh(LeNet5(), data, "default", 0)
    target, truth = flat.upload(16)
    assert [guess.tolist() for guess in count_guesses(flat.last(), target, 16, most=4)] == [truth.tolist()]
    steep = Fresh(LeNet5(), data, None, 0)
    target, _ = steep.upload(64)
    first, *others = count_guesses(steep.last(), target, 64, most=4)
    assert len(others) == 3
    for other in others:
        moved = other.bincount(minlength=10) - first.bincount(minlength=10)
        assert sorted(moved.tolist()) == [-1, *[0] * 8, 1]


def test_what_is_masked_of_the_last_layer_changes_no_label_of_a_flat_net() -> None:
    data = digits("mini")
    for draw in range(3):
        fresh = Fresh(Mini(), data, "default", draw)
        last = fresh.last()
        target, truth = fresh.upload(16)
        mask = torch.rand(target.gradient.numel(), generator=generator(draw, "mask")) >= 0.3
        assert last.bias is not None
        mask[last.bias] = True
        hidden = Target(target.point, target.gradient * mask, mask)
        assert torch.equal(count_labels(last, hidden, 16), truth)
