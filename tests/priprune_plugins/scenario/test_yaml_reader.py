import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario import read_scenario
from priprune_plugins.scenario.yaml_reader import MAX_DEPTH, parse_yaml, read_yaml

Write = Callable[..., Path]
BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "alias bomb": (BOMB, 5, "more than 50,000 values"),
    "alias inside itself": ("a: &a [*a]\n", 1, "is used inside itself"),
    "alias without anchor": ("a: 1\nb: *c\n", 2, "has no anchor"),
    "deep flow": ("a: " + "[" * 400_000, 1, "nested deeper"),
    "deep block": ("- " * 3_000, 1, "nested deeper"),
    "duplicate key": ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "duplicate key 'c', first at"),
    "tag": ("a: 1\nb: !!python/object:os.system x\n", 2, "tags are not allowed"),
    "nan": ("a: 1\nb: .nan\n", 2, "must be finite"),
    "overflow": ("b: 1e999\n", 1, "must be finite"),
    "merge key": ("a: &a {b: 1}\nc: {<<: *a}\n", 2, "merge keys"),
    "mapping as key": ("? {a: 1}\n: 2\n", 1, "a key must be plain text"),
    "long key": ("a: 1\n? " + "k" * 999_000 + "\n: 1\n", 2, "at most 100 long"),
    "control character": ("a: 1\nb: \x07\n", 2, "character U+0007"),
    "latin-1": ("a: 1\nb: é\n".encode("latin-1"), 2, "must be UTF-8, got byte 0xe9"),
    "utf-16": ("a: 1\n".encode("utf-16"), 1, "must be UTF-8, got byte 0xff"),
    "over a megabyte": ("a: " + "x" * 1_000_000, 1, "at most 1,000,000 bytes"),
    "empty": ("", 1, "is empty"),
    "comment only": ("# nothing\n", 1, "is empty"),
    "list": ("- a\n", 1, "top level must be a mapping"),
    "text": ("just text\n", 1, "top level must be a mapping"),
    "two documents": ("a: 1\n---\nb: 2\n", 2, "a second document"),
    "tab": ("a:\n\t- b\n", 2, "wrong YAML"),
    "unclosed": ("a: 1\nb: [1, 2\nc: 3\n", 3, "wrong YAML"),
    "many values": ("a: [" + "1," * 400_000 + "]", 1, "more than 50,000 values"),
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_a_hostile_file_is_one_line_with_its_place_in_under_a_second(case: str, write: Write) -> None:
    text, line, what = HOSTILE[case]
    path = write(text)
    started = time.process_time()
    with pytest.raises(ScenarioError) as caught:
        read_yaml(path)
    assert time.process_time() - started < 1
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ") and what in message
    assert "\n" not in message and len(message) < len(str(path)) * 2 + 250


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ScenarioError, match="cannot be read"):
            read_yaml(path)


def test_every_value_knows_the_line_of_its_key(write: Write) -> None:
    node = read_yaml(write("a: 1\nb:\n  c:\n    - x\n    - {d: 2}\n"))
    lines = {path: place.rpartition(":")[2] for path, place in node.places("")}
    assert lines == {"": "1", "a": "1", "b": "2", "b.c": "3", "b.c[0]": "4", "b.c[1]": "5", "b.c[1].d": "5"}


def test_an_alias_is_its_anchors_value() -> None:
    assert parse_yaml("a: &x {b: [1, 2]}\nc: *x\n", "f").plain() == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}


def test_a_byte_order_mark_is_no_part_of_the_first_key(write: Write) -> None:
    assert read_yaml(write("\ufeffa: 1\n")).plain() == {"a": 1}


def test_the_deepest_value_allowed_is_read() -> None:
    assert parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, "f").plain() is not None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mangled_scenario_is_read_or_refused_in_one_line(data: st.DataObject, write: Write, right: str) -> None:
    start = data.draw(st.integers(0, len(right)))
    stop = data.draw(st.integers(start, min(start + 12, len(right))))
    piece = data.draw(
        st.sampled_from(["", "\n", "[", "{", "*a", "&a ", "!!x ", ": ", "- ", "'", "\x00", "<<", "null", "9e9"])
    )
    path = write(right[:start] + piece + right[stop:])
    try:
        read_scenario(path)
    except ScenarioError as error:
        assert str(error).startswith(f"{path}:") and "\n" not in str(error)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_line(content: bytes, write: Write) -> None:
    path = write(content)
    with pytest.raises(ScenarioError) as caught:
        read_scenario(path)
    assert str(caught.value).startswith(f"{path}:") and "\n" not in str(caught.value)
