import math

import pytest
import torch

from priprune_plugins.privacy.histograms import grey_levels, joint_histogram, kl_divergence, min_entropy_leakage

TRUTH = torch.tensor([0.0, 0.0, 0.0, 0.9]).reshape(1, 1, 2, 2)
FLAT = torch.zeros(1, 1, 2, 2)


def test_a_level_is_the_floor_and_the_last_level_is_capped() -> None:
    assert grey_levels(torch.tensor([[-1.0, 0.0, 0.249, 0.25, 1.0, 2.0]]), 4).tolist() == [[0, 0, 0, 1, 3, 3]]


def test_the_joint_histogram_counts_pairs_with_the_truth_first() -> None:
    joint = joint_histogram(torch.cat([TRUTH, FLAT]), torch.cat([FLAT, TRUTH]), 2)
    assert joint.tolist() == [[[0.75, 0.0], [0.25, 0.0]], [[0.75, 0.25], [0.0, 0.0]]]


def test_divergence_by_hand() -> None:
    # Counts (3, 1) and (4, 0), half a pseudo-count each: p = (3.5, 1.5) / 5, q = (4.5, 0.5) / 5.
    want = 0.7 * math.log2(3.5 / 4.5) + 0.3 * math.log2(1.5 / 0.5)
    assert kl_divergence(TRUTH, FLAT, 2).item() == pytest.approx(want)


def test_divergence_ignores_where_the_grey_levels_lie() -> None:
    assert kl_divergence(TRUTH, TRUTH.flip(-1, -2), 16).item() == pytest.approx(0.0, abs=1e-12)


def test_min_entropy_leakage_by_hand() -> None:
    # Without the guess the best try is right with 3/4, with the exact picture always.
    assert min_entropy_leakage(TRUTH, TRUTH, 2).item() == pytest.approx(math.log2(4 / 3))
    assert min_entropy_leakage(TRUTH, FLAT, 2).item() == 0.0


def test_a_correlation_that_changes_no_best_try_leaks_no_min_entropy() -> None:
    truth = torch.tensor([0.0] * 6 + [0.9] * 2).reshape(1, 1, 2, 4)
    guess = torch.tensor([0.0] * 4 + [0.9] * 4).reshape(1, 1, 2, 4)
    assert min_entropy_leakage(truth, guess, 2).item() == 0.0


@pytest.mark.parametrize("measure", [kl_divergence, min_entropy_leakage])
def test_the_measures_give_one_figure_per_image(measure) -> None:
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    guesses = images.flip(-1)
    alone = [measure(image[None], guess[None], 16).item() for image, guess in zip(images, guesses, strict=True)]
    assert measure(images, guesses, 16).tolist() == pytest.approx(alone)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        joint_histogram(TRUTH, FLAT[..., :1], 2)
