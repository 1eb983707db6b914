import math

import pytest
import torch

from priprune_plugins.bounds.covariance import gradient_spectrum

# Mean 0, covariance diag(18/4, 8/4), third coordinate never used.
GRADIENTS = torch.tensor([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0]], dtype=torch.float64)


def test_rank_and_delta_by_hand() -> None:
    spectrum = gradient_spectrum(GRADIENTS @ GRADIENTS.mT)
    assert spectrum.law.d_star == 2
    assert spectrum.law.delta == pytest.approx(-0.5 * math.log2(4.5 * 2.0))
    assert (spectrum.samples, spectrum.mean_share, spectrum.capped) == (4, pytest.approx(0.0), False)


def test_a_mean_that_is_not_0_is_taken_off_and_reported() -> None:
    moved = GRADIENTS + torch.tensor([0.0, 0.0, 5.0], dtype=torch.float64)
    spectrum = gradient_spectrum(moved @ moved.mT)
    assert spectrum.law.d_star == 2
    assert spectrum.law.delta == pytest.approx(-0.5 * math.log2(9.0))
    # 25 of a mean square of 25 + (9 + 9 + 4 + 4) / 4.
    assert spectrum.mean_share == pytest.approx(25 / 31.5)


def test_as_many_dimensions_as_images_less_one_are_capped() -> None:
    gradients = torch.randn(5, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert gradient_spectrum(gradients @ gradients.mT).capped


def test_equal_gradients_have_no_dimension() -> None:
    gradients = torch.full((4, 3), 0.1, dtype=torch.float64)
    spectrum = gradient_spectrum(gradients @ gradients.mT)
    assert (spectrum.law.d_star, spectrum.law.delta) == (0, 0.0)
    assert spectrum.mean_share == pytest.approx(1.0)
    assert gradient_spectrum(torch.zeros(3, 3, dtype=torch.float64)).mean_share == 0.0
