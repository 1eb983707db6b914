import pytest

from priprune_plugins.report import numbers


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1023, "1023 B"), (2**20, "1 MiB"), (3.5 * 2**30, "3.5 GiB")]
)
def test_sizes_have_binary_units(value: float, text: str) -> None:
    assert numbers.size(value) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(("value", "text"), [(1.5, "1.5 s"), (180, "3.0 min"), (7200, "2.0 h")])
def test_durations(value: float, text: str) -> None:
    assert numbers.duration(value) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize("write", [numbers.decimal, numbers.share, numbers.decibels, numbers.count, numbers.size])
@pytest.mark.parametrize("value", [None, float("nan"), "text", True])
def test_what_is_no_number_is_a_dash(write, value: object) -> None:
    assert write(value) == numbers.NONE


def test_a_negative_number_has_a_true_minus() -> None:
    assert numbers.decimal(-1.234) == "\u22121.23"
