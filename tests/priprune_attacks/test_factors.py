"""Thin factors are found where a target has them, and only there."""

import pytest
import torch
from torch import Tensor

from priprune_attacks import factors
from priprune_attacks.factors import TOLERANCE, factors_of

OUTPUTS, INPUTS = 96, 200


@pytest.fixture
def target() -> Tensor:
    """Two victims' targets of rank 3 in float32, ``[2, O, I]``."""
    draws = torch.Generator().manual_seed(0)
    return torch.randn(2, OUTPUTS, 3, generator=draws) @ torch.randn(2, 3, INPUTS, generator=draws)


def norms(target: Tensor) -> Tensor:
    return target.flatten(1).norm(dim=1)


def test_a_gradient_over_few_images_has_thin_factors(target: Tensor) -> None:
    found = factors_of(target, None, norms(target))
    assert found is not None
    assert found.left.shape[2] <= 4
    rest = norms(found.left @ found.right - target)
    assert bool((rest <= TOLERANCE * norms(target)).all())


def test_victims_of_different_rank_are_padded(target: Tensor) -> None:
    target[1] = target[1, :, :1] * target[1, :1]
    found = factors_of(target, None, norms(target))
    assert found is not None
    torch.testing.assert_close(found.left @ found.right, target, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masks", [1, 2])
def test_rank_one_is_found_through_a_mask(target: Tensor, masks: int) -> None:
    mask = (torch.rand(masks, OUTPUTS, INPUTS, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    whole = target[:, :, :1] * target[:, :1]
    found = factors_of(whole * mask, mask, norms(whole * mask))
    assert found is not None
    assert bool((norms(mask * (found.left @ found.right) - whole * mask) <= TOLERANCE * norms(whole * mask)).all())


def test_what_is_not_of_low_rank_stays_as_it_is(target: Tensor) -> None:
    noise = torch.randn(2, OUTPUTS, INPUTS, generator=torch.Generator().manual_seed(2))
    assert factors_of(noise, None, norms(noise)) is None
    assert factors_of(target + 1e-4 * noise, None, norms(target)) is None
    assert factors_of(noise, torch.ones(1, OUTPUTS, INPUTS), norms(noise)) is None


def test_a_small_target_is_not_worth_it(target: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "_SMALL", target[0].numel() + 1)
    assert factors_of(target, None, norms(target)) is None
