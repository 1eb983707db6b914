import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import normalized_mutual_info_score

from priprune_plugins.privacy.nmi import nmi


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float32, (2, 3, 20), elements=st.floats(0, 1, width=32)),
    st.integers(2, 32),
)
def test_equals_scikit_learn_on_the_same_labels(pair: np.ndarray, levels: int) -> None:
    truth, guess = torch.tensor(pair).unsqueeze(2)
    labels = np.minimum(np.floor(pair * np.float32(levels)), levels - 1).astype(int)
    got = nmi(truth.unsqueeze(1), guess.unsqueeze(1), levels)
    for row in range(3):
        u, v = labels[0, row], labels[1, row]
        both_constant = len(set(u)) == 1 and len(set(v)) == 1
        want = 0.0 if both_constant else normalized_mutual_info_score(u, v)
        assert got[row].item() == pytest.approx(want, abs=1e-9)


def test_equal_pictures_score_1_and_two_flat_ones_0() -> None:
    picture = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)
    flat = torch.full_like(picture, 0.3)
    got = nmi(torch.cat([picture, flat]), torch.cat([picture, flat]))
    assert got.tolist() == pytest.approx([1.0, 0.0])


def test_half_the_information_by_hand() -> None:
    # U has four equal levels (2 bits), V merges them in pairs (1 bit) and is a function of U: I = 1 bit.
    truth = torch.tensor([0.0, 0.3, 0.6, 0.9]).reshape(1, 1, 2, 2)
    guess = torch.tensor([0.0, 0.0, 0.9, 0.9]).reshape(1, 1, 2, 2)
    assert nmi(truth, guess, levels=4).item() == pytest.approx(1.0 / 1.5)


def test_values_outside_the_range_are_clamped_and_1_falls_in_the_last_level() -> None:
    truth = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
    assert nmi(truth, torch.tensor([-7.0, 9.0]).reshape(1, 1, 1, 2)).item() == pytest.approx(1.0)


def test_a_pixel_that_is_not_finite_is_refused() -> None:
    picture = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="not finite"):
        nmi(picture, picture / 0)
