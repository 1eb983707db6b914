"""Which batches each number stands for that a client sent over many participations, by hand and by a simulation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_attacks.histories import History, history_of, summed
from priprune_attacks.objectives import cosine
from priprune_attacks.summed_gradients import Sums, batch_gradients, comparison, known_sums, plain_sum
from priprune_plugins import Facts, Observation
from priprune_plugins.layout import Layout

BROADCAST = torch.tensor([1.0, 2.0, 3.0, 4.0])
# Rows are participations: what of the four coordinates was sent.
SENT = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 1]]).bool()


def build() -> nn.Module:
    return nn.Linear(2, 2, bias=False)


FACTS = Facts(build, Layout.of(build()), (2, 1, 1), 2, 0.5, 1, 1, None, "fedavg", torch.zeros(2, 1, 1))


def observed(told: Tensor, sent: Tensor, hidden: bool = False, mask: Tensor | None = None) -> list[Observation]:
    """Participations whose pseudo-gradients are ``told``, at lr .5; what is not sent is absent, or the broadcast."""
    blank = BROADCAST if hidden else torch.zeros(4)
    uploads = [torch.where(there, BROADCAST - 0.5 * row, blank) for row, there in zip(told, sent, strict=True)]
    return [
        Observation(BROADCAST, BROADCAST, mask, upload, {}, {}, {}, 1, index, (0,), FACTS)
        for index, upload in enumerate(uploads)
    ]


def history(seen: list[Observation], attacked: int, releases: Any = "recovered", **most: int) -> History:
    window = {"earlier": 9, "later": 9, **most}
    among = replace(seen[attacked], earlier=seen[:attacked], later=seen[attacked + 1 :])
    return history_of(among, releases=releases, **window)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_batch_is_in_the_first_number_that_is_sent_at_its_participation_or_after(hidden: bool) -> None:
    found = history(observed(torch.ones(3, 4), SENT, hidden), 0)
    assert found.number_of.tolist() == [[0, 1, 3, 2], [2, 1, 3, 2], [2, 2, 3, 2]]
    assert found.batches.tolist() == [[1, 0, 0, 0], [0, 2, 0, 0], [2, 1, 0, 3]]


def test_the_first_number_from_a_participation_on_is_found_where_there_is_one() -> None:
    told = torch.arange(1.0, 13.0).view(3, 4)
    numbers, there = history(observed(told, SENT), 1).first_number(1)
    assert there.tolist() == [True, True, False, True]
    assert numbers.tolist() == pytest.approx([9.0, 6.0, 0.0, 12.0])


def test_a_window_leaves_out_what_lies_beyond_it() -> None:
    found = history(observed(torch.ones(3, 4), SENT), 1, earlier=0, later=1)
    assert [one.round_idx for one in found.observations] == [1, 2]
    assert found.attacked == 0 and found.batches[1].tolist() == [2, 1, 0, 2]


def test_a_base_pruned_coordinate_is_never_sent() -> None:
    mask = torch.tensor([True, False, True, True])
    found = history(observed(torch.ones(3, 4), torch.ones(3, 4).bool(), mask=mask), 0)
    assert not found.sent[:, 1].any() and not summed(found)[1]


def test_with_unknown_times_of_release_everything_is_summed() -> None:
    told = torch.arange(1.0, 13.0).view(3, 4) / 2
    found = history(observed(told, torch.ones(3, 4).bool()), 1, "unknown")
    assert summed(found).tolist() == pytest.approx([7.5, 9.0, 10.5, 12.0])
    assert summed(found, 1).tolist() == pytest.approx([7.0, 8.0, 9.0, 10.0])


def test_an_update_of_zero_was_sent_where_other_coordinates_are_absent() -> None:
    shown, hidden = (history(observed(torch.zeros(3, 4), SENT, hide), 0).sent for hide in (False, True))
    assert torch.equal(shown, SENT) and not hidden.any()


def test_what_stands_out_of_the_noise_of_its_layer_is_detected() -> None:
    def wide() -> nn.Module:
        return nn.Linear(1000, 1, bias=False)

    noise = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    noise[:10] = 20.0
    facts = replace(FACTS, build_model=wide, layout=Layout.of(wide()))
    ones = torch.ones(1000)
    seen = Observation(ones, ones, None, ones - 0.5 * noise, {}, {}, {}, 1, 0, (0,), facts)
    sent = history_of(seen, 9, 9, "detected").sent[0]
    # 1.2% of normal noise lies beyond 2.5 deviations.
    assert sent[:10].all() and 3 <= int(sent[10:].sum()) <= 25


def held_back(gradients: Tensor, release: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a client sends that holds back: the sum since the last release, and what it still holds."""
    held, told = torch.zeros_like(gradients[0]), []
    for gradient, now in zip(gradients, release, strict=True):
        held = held + gradient
        told.append(held * now)
        held = held * ~now
    return torch.stack(told), held


def mismatch(sums: Sums, gradients: Tensor) -> float:
    return float(cosine(sums.products(gradients)))


def test_true_gradients_explain_every_number_of_a_client_that_holds_back() -> None:
    draws = torch.Generator().manual_seed(0)
    gradients = torch.randn(8, 4, generator=draws)
    release = torch.rand(8, 4, generator=draws) < 0.4
    told, _ = held_back(gradients, release)
    found = history(observed(told, release), 3)
    sums = known_sums(found, found.sent)
    assert mismatch(sums, gradients[list(sums.participations)]) < 1e-6
    assert mismatch(sums, gradients[list(sums.participations)].flip(0)) > 0.1


def test_numbers_that_sum_few_batches_are_explained_by_the_youngest() -> None:
    draws = torch.Generator().manual_seed(0)
    gradients = torch.randn(8, 4, generator=draws)
    release = torch.tensor([[1, 1, 1, 1]] + [[0, 0, 0, 0]] * 4 + [[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]]).bool()
    found = history(observed(held_back(gradients, release)[0], release), 7)
    chosen = found.sent & (found.batches <= 2)
    chosen[:7] = False
    sums = known_sums(found, chosen)
    assert sums.participations == (6, 7) and sums.compared.tolist() == [[True, True, False, False]]
    assert mismatch(sums, gradients[6:]) < 1e-6


def test_all_gradients_explain_the_plain_sum_once_everything_is_sent() -> None:
    gradients = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    release = torch.tensor([[0, 1, 0, 0]] * 4 + [[1, 1, 1, 1]]).bool()
    told, held = held_back(gradients, release)
    assert not held.any()
    found = history(observed(told, release), 2, "unknown")
    assert mismatch(plain_sum(found, summed(found)), gradients) < 1e-6


def test_the_products_of_sums_are_those_of_the_numbers_that_are_compared() -> None:
    told = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [1.0, 1.0, 1.0, 1.0]])
    sums = known_sums(history(observed(told, SENT), 0), SENT)
    found = sums.products(told)
    # Numbers: 1 + nothing; 2 + 6; (5 + 1), 1 and 4 + 8 + 1, against what was sent: 1, 6, 1, 1, 1.
    assert [float(part) for part in (found.dot, found.square, found.target_square)] == pytest.approx([69, 271, 40])
    assert found.dot.shape == found.target_square.shape == (1, 1, 1)


def test_each_batchs_gradient_is_taken_at_its_own_broadcast(
    new_scene: Callable[..., Any], some_digits: Callable[..., Any]
) -> None:
    images, labels, _ = some_digits(2)
    scenes = [replace(new_scene(rate=0.3), weights=new_scene(seed=seed).weights) for seed in (1, 2)]
    seen = [one.observe(images[i : i + 1], labels[i : i + 1]) for i, one in enumerate(scenes)]
    found = history_of(replace(seen[1], earlier=seen[:1]), 9, 9, "unknown")
    one_hot = torch.nn.functional.one_hot(labels, 62).float()
    made = batch_gradients(found, plain_sum(found, summed(found)))(images.unsqueeze(1), one_hot.unsqueeze(1))
    for row, one, i in zip(made, scenes, range(2), strict=True):
        expected = one.gradient(images[i : i + 1], labels[i : i + 1]) * one.mask
        assert torch.allclose(row, expected, rtol=1e-4, atol=1e-6)


def test_restarts_of_a_window_are_compared_row_by_row(
    new_scene: Callable[..., Any], some_digits: Callable[..., Any]
) -> None:
    images, labels, _ = some_digits(2)
    seen = [new_scene(seed=i).observe(images[i : i + 1], labels[i : i + 1]) for i in (0, 1)]
    found = history_of(replace(seen[1], earlier=seen[:1]), 9, 9, "unknown")
    compare = comparison(found, plain_sum(found, summed(found)))
    one_hot = torch.nn.functional.one_hot(labels, 62).float()
    rows = torch.stack([images, images.flip(0)]).unsqueeze(0), torch.stack([one_hot, one_hot.flip(0)]).unsqueeze(0)
    true, exchanged = cosine(compare(*rows))[0].tolist()
    assert true < 1e-5 and exchanged > 0.1
