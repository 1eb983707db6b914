from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from priprune_defenses.ring import decoded, encoded, largest


def test_a_number_is_rounded_to_the_nearest_step_after_its_factor() -> None:
    vector = torch.tensor([[0.5, -0.75], [1 / 3, 0.0]])
    ring = encoded(vector, 3.0, bits=4, members=2)
    assert ring.tolist() == [24, -36, 16, 0] and ring.dtype == torch.int64
    assert decoded(ring, 4).tolist() == [1.5, -2.25, 1.0, 0.0]


def test_a_vector_is_left_as_found() -> None:
    vector = torch.tensor([1.0, 2.0], dtype=torch.float64)
    encoded(vector, 3.0, bits=8, members=2)
    assert vector.tolist() == [1.0, 2.0]


def test_masks_are_whole_steps() -> None:
    assert decoded(encoded(torch.tensor([True, False]), 1.0, bits=8, members=2), 8).tolist() == [1.0, 0.0]


@given(
    values=st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=8),
    factor=st.floats(1, 500),
    bits=st.integers(8, 32),
)
def test_encoding_is_at_most_half_a_step_off(values: list[float], factor: float, bits: int) -> None:
    ring = encoded(torch.tensor(values), factor, bits, members=10)
    for value, element in zip(values, ring.tolist(), strict=True):
        exact = Fraction(value) * Fraction(factor) * 2**bits
        # The product itself is rounded to 53 bits.
        assert abs(element - exact) <= Fraction(1, 2) + abs(exact) / 2**52


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2.0**21, -(2.0**21)])
def test_what_could_wrap_a_sum_is_refused(value: float) -> None:
    assert largest(bits=40, members=4) == 2.0**21
    encoded(torch.tensor([2.0**21 - 1]), 1.0, bits=40, members=4)
    with pytest.raises(OverflowError):
        encoded(torch.tensor([0.0, value]), 1.0, bits=40, members=4)
