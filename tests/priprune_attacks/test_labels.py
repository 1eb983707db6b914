"""Label recovery on fresh nets, and what happens where the last layer is withheld."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from priprune_attacks.labels import count_labels
from priprune_attacks.last_layer import LastLayer
from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import pseudo_gradient
from priprune_plugins.generators import generator

HIDE = {
    "nothing": lambda update, last: torch.zeros_like(update, dtype=torch.bool),
    "last bias": lambda update, last: _part(update, last.bias),
    "last layer": lambda update, last: _part(update, last.bias) | _part(update, last.weight),
}


def _part(update: Tensor, part: slice) -> Tensor:
    hidden = torch.zeros_like(update, dtype=torch.bool)
    hidden[part] = True
    return hidden


def counted(make_scene: Callable[..., Any], make_digits: Callable[..., Any], batch: int, seed: int, hide: str) -> Any:
    images, _, mean = make_digits(batch, 64 * seed)
    labels = torch.randint(0, 62, (batch,), generator=generator(seed, "labels"))
    victim = make_scene(rate=0.3, seed=seed, mean_image=mean)
    model = model_at(victim.facts, victim.broadcast, {})
    last = LastLayer.of(model, victim.facts, generator(0, "probe"))
    seen = victim.observe(images, labels, withhold=lambda update: HIDE[hide](update, last))
    return count_labels(last, pseudo_gradient(seen), batch), labels.sort().values


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("hide", ["nothing", "last bias"])
def test_labels_of_small_batches_are_exact(
    new_scene: Callable[..., Any], some_digits: Callable[..., Any], batch: int, hide: str
) -> None:
    for seed in range(4):
        guess, truth = counted(new_scene, some_digits, batch, seed, hide)
        assert torch.equal(guess, truth)


def test_of_a_large_batch_all_but_three_percent_are_right(
    new_scene: Callable[..., Any], some_digits: Callable[..., Any]
) -> None:
    hits = 0
    for seed in range(4):
        guess, truth = counted(new_scene, some_digits, 64, seed, "nothing")
        hits += int(guess.bincount(minlength=62).minimum(truth.bincount(minlength=62)).sum())
    assert hits >= 0.97 * 4 * 64


def test_a_withheld_last_layer_leaves_the_labels_to_the_search(
    new_scene: Callable[..., Any], some_digits: Callable[..., Any]
) -> None:
    guess, _ = counted(new_scene, some_digits, 4, 0, "last layer")
    assert guess is None
