import math

import pytest
import torch

from priprune_plugins.bounds.theorem import (
    GradientLaw,
    PruneFLCounts,
    batch_choice,
    binary_entropy,
    corollary_1,
    corrected,
    equation_23,
    mended,
    p_term,
    theorem_1,
)

LAW = GradientLaw(d_star=2, delta=3.0)


def test_theorem_1_by_hand() -> None:
    bound = theorem_1(0.5, 4, LAW)
    # 1 + 0.5 / (2 ln 2), 2 log2(1/4), 2 * 3, 2 * log2(2 pi e)
    expected = {"p_term": 1.3606738, "batch": -4.0, "covariance": 6.0, "gaussian": 8.1883822}
    assert bound.terms == pytest.approx(expected, abs=1e-6)
    assert bound.total == pytest.approx(11.5490560, abs=1e-6)
    assert corollary_1(bound, 10) == pytest.approx(115.490560, abs=1e-5)


def test_the_rate_moves_the_printed_bound_by_half_a_bit() -> None:
    assert p_term(1.0) == 1.0
    assert p_term(0.0) == pytest.approx(1.7213475, abs=1e-6)
    span = theorem_1(0.1, 20, LAW).total - theorem_1(0.9, 20, LAW).total
    assert span == pytest.approx(0.8 / (2 * math.log(2)), abs=1e-9) == pytest.approx(0.577, abs=1e-3)


def test_corrected_by_hand() -> None:
    bound = corrected(0.5, 4, LAW)
    assert bound.terms == pytest.approx(
        {"mask": 2.0, "batch": -4.0, "covariance": -6.0, "gaussian": 8.1883822}, abs=1e-6
    )
    assert bound.total == pytest.approx(0.1883822, abs=1e-6)


def test_corrected_is_the_mask_and_twice_the_entropy_of_a_mean_of_gaussian_gradients() -> None:
    root = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    covariance = root @ root.mT
    law = GradientLaw(5, -0.5 * float(covariance.logdet()) / math.log(2))
    mean_of_8 = torch.distributions.MultivariateNormal(torch.zeros(5, dtype=torch.float64), covariance / 8)
    entropy = float(mean_of_8.entropy()) / math.log(2)
    assert corrected(0.3, 8, law).total == pytest.approx(5 * binary_entropy(0.3) + 2 * entropy, abs=1e-9)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("batch_size", [1, 20])
def test_the_mended_slips_lead_from_printed_to_corrected(rate: float, batch_size: int) -> None:
    law = GradientLaw(99, 103.1)
    slips = mended(rate, batch_size, law)
    printed = theorem_1(rate, batch_size, law).total
    assert printed + sum(slips.values()) == pytest.approx(corrected(rate, batch_size, law).total, abs=1e-9)
    assert slips["sign_of_sigma"] == pytest.approx(-412.4)
    # Net of the two slips in B: minus (d*/2) log2 B for each of two entropies, in place of minus log2 B.
    in_b = slips["log_b_per_dimension"] + slips["covariance_of_a_sum"]
    assert in_b == pytest.approx((2 - 99) * math.log2(batch_size))


def test_a_larger_loss_changes_the_printed_bound_by_its_unit_alone() -> None:
    # Gradients 10 times as large: Sigma times 100 in each of d* dimensions.
    louder = GradientLaw(2, 3.0 - 2 * math.log2(10))
    change = theorem_1(0.3, 1, louder).total - theorem_1(0.3, 1, LAW).total
    assert change == pytest.approx(-2 * 2 * math.log2(10))


def test_equation_23_counts_what_is_left_and_its_second_line_does_not_follow() -> None:
    first, second = equation_23(PruneFLCounts(never_pruned=10, remaining=70, parameters=100), 4, LAW)
    assert first.terms["p_term"] == pytest.approx(1 + 0.8 / (2 * math.log(2)))
    assert first.total == pytest.approx(theorem_1(0.2, 4, LAW).total)
    assert second.terms["p_term"] == pytest.approx(1 + 0.1 / (2 * math.log(2)))
    assert second.total < first.total


def test_binary_entropy_is_symmetric_and_0_where_nothing_is_open() -> None:
    assert binary_entropy(0.1) == pytest.approx(0.4689956, abs=1e-6) == pytest.approx(binary_entropy(0.9))
    assert (binary_entropy(0.0), binary_entropy(0.5), binary_entropy(1.0)) == (0.0, 1.0, 0.0)


def test_batch_choice_counts_the_batches() -> None:
    assert batch_choice(5, 2) == pytest.approx(math.log2(10))
    assert batch_choice(100, 1) == pytest.approx(math.log2(100))
    assert batch_choice(3, 4) is None
