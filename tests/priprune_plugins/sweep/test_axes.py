import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.yaml_reader import parse_yaml
from priprune_plugins.sweep.axes import Axis, axis, file_name, short_names


def labels(path: str, text: str) -> list[str]:
    return [value.label for value in axis(path, parse_yaml(text, "f")).values]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[0.1, 1e-6, 3, true, null, text]", ["0.1", "1e-06", "3", "true", "none", "text"]),
        ("[[], [{name: largest, rate: 0.3}], [{name: dp}, {name: 'lab:Mine'}]]", ["none", "largest", "dp+Mine"]),
        ("[null, {name: snip}]", ["none", "snip"]),
        (
            "[[{name: largest, rate: 0.1}], [{name: largest, rate: 0.3}], []]",
            ["largest(rate=0.1)", "largest(rate=0.3)", "none"],
        ),
        ("{off: [], strong: [{name: largest}]}", ["off", "strong"]),
        ("[{rounds: [1, 2]}]", ["rounds=1+2"]),
    ],
)
def test_a_label_is_as_short_as_its_axis_allows(text: str, expected: list[str]) -> None:
    assert labels("x", text) == expected


def test_labels_too_long_to_tell_apart_are_numbered() -> None:
    one, two = labels("x", f"['{'a' * 70}b', '{'a' * 70}c']")
    assert one != two and len(one) == 60 and two == f"{one} 2"


def test_columns_hold_scalars_as_they_are_and_the_rest_by_label() -> None:
    found = axis("x", parse_yaml("[0.1, null, [{name: largest}]]", "f"))
    assert [value.column for value in found.values] == [0.1, None, "largest"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.3", r"f:1: x must be a list of values, or label: value, got 0\.3; write \[0\.3\]"),
        ("{name: snip}", "must be a list of values"),
        ("[]", "x has no value"),
        ("[0.1,\n 0.1]", r"f:2: x has the value 0\.1 twice"),
    ],
)
def test_a_wrong_axis_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        axis("x", parse_yaml(text, "f"))


def test_true_and_one_are_two_values() -> None:
    assert labels("x", "[true, 1]") == ["true", "1"]


def test_short_names_are_last_keys_where_these_are_unique() -> None:
    axes = [Axis(path, "f:1", ()) for path in ("pruner.rate", "defenses[0].rate", "seed", "data.alpha")]
    assert list(short_names(axes).values()) == ["pruner.rate", "defenses[0].rate", "seed", "alpha"]


def test_a_cells_name_is_a_plain_file_name() -> None:
    parts = {"rate": "0.3", "defenses": "largest(rate=0.1)+dp", "defenses[0].rate": "1e-06"}
    assert file_name(parts) == "rate-0.3_defenses-largest-rate-0.1-dp_defenses-0-.rate-1e-06"
