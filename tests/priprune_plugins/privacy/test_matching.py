from itertools import permutations

import pytest
import torch

from priprune_plugins.privacy.matching import label_accuracy, match, pairwise_mse


def test_a_shuffled_batch_is_put_back() -> None:
    truth = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    shuffle = torch.tensor([3, 0, 5, 1, 4, 2])
    guess = truth[shuffle]
    assert torch.equal(guess[match(truth, guess)], truth)


def test_no_other_order_has_less_error() -> None:
    generator = torch.Generator().manual_seed(1)
    truth, guess = torch.rand(2, 5, 1, 2, 2, generator=generator)
    cost = pairwise_mse(truth, guess)
    rows = torch.arange(5)
    least = min(cost[rows, torch.tensor(order)].sum() for order in permutations(range(5)))
    assert cost[rows, match(truth, guess)].sum() == least


def test_known_labels_keep_a_guess_in_its_class() -> None:
    truth = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    guess = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1)
    labels = torch.tensor([4, 7])
    assert match(truth, guess, labels, labels).tolist() == [0, 1]


def test_labels_that_disagree_with_the_truth_bind_nothing() -> None:
    truth = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    guess = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1)
    assert match(truth, guess, torch.tensor([4, 7]), torch.tensor([4, 4])).tolist() == [1, 0]


@pytest.mark.parametrize(("guess", "share"), [([2, 1, 1], 1.0), ([1, 2, 2], 2 / 3), ([5, 6, 7], 0.0)])
def test_label_accuracy_counts_without_order(guess: list[int], share: float) -> None:
    assert label_accuracy(torch.tensor([1, 1, 2]), torch.tensor(guess)) == pytest.approx(share)
