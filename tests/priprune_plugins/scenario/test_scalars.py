import math

import pytest

from priprune_plugins.scenario.scalars import plain_scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E5", 1e5), (".5e-3", 5e-4), ("1.", 1.0), ("-.5", -0.5), ("+2.5", 2.5), ("0.0", 0.0)],
)
def test_every_decimal_float_is_a_float(text: str, value: float) -> None:
    got = plain_scalar(text)
    assert isinstance(got, float) and got == value


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("12", 12), ("-3", -3), ("+4", 4)])
def test_a_decimal_integer_is_an_integer(text: str, value: int) -> None:
    got = plain_scalar(text)
    assert type(got) is int and got == value


@pytest.mark.parametrize(
    "text", ["no", "yes", "on", "off", "y", "010", "0x10", "0o7", "1_000", "1:30", "2026-11-20", "nan"]
)
def test_what_readers_of_yaml_disagree_about_stays_text(text: str) -> None:
    assert plain_scalar(text) == text


def test_null_and_bools_are_those_of_yaml_1_2() -> None:
    assert [plain_scalar(text) for text in ("", "~", "null", "true", "False")] == [None, None, None, True, False]


@pytest.mark.parametrize("text", [".nan", ".inf", "-.INF", "1e999", "9" * 301])
def test_a_number_that_is_not_finite_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        plain_scalar(text)


def test_the_largest_float_is_still_one() -> None:
    assert math.isfinite(float(str(plain_scalar("1.7e308"))))
