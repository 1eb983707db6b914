from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.catalogue import installed
from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario import read_scenario, schema
from priprune_plugins.scenario.sections_reader import HOST_KEYS
from priprune_plugins.scenario.yaml_reader import parse_yaml

jsonschema = pytest.importorskip("jsonschema")
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def validator() -> Any:
    document = schema.schema()
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def errors(validator: Any, text: str) -> list[str]:
    return [error.message for error in validator.iter_errors(parse_yaml(text, "f").plain())]


def test_a_right_scenario_validates(validator: Any, right: str) -> None:
    assert errors(validator, right) == []


def test_an_included_part_needs_no_whole_scenario(validator: Any) -> None:
    assert errors(validator, "include: base.yaml\nseed: 2\n") == []


WRONG = [
    ("seed: 3", "sead: 3"),
    ("rounds: 5\n", ""),
    ("rounds: 5", "rounds: 0"),
    ("rounds: 5", "rounds: five"),
    ("rate: 0.3", "rate: 1.5"),
    ("rate: 0.3", "ratee: 0.3"),
    ("name: random", "name: rendom"),
    ("  name: random\n", ""),
    ("iterations: 7", "iterations: 0"),
    ("size: 14", "size: big"),
    ("init: he", "init: hee"),
    ("lr: 1e-1", "lr: 0.1\n  epochs: 1\n  local_steps: 1"),
    ("attacks: [{name: gi, iterations: 7}]", "attacks: gi"),
]


@pytest.mark.parametrize(("old", "new"), WRONG, ids=[new or f"no {old}" for old, new in WRONG])
def test_a_wrong_scenario_fails(old: str, new: str, validator: Any, right: str) -> None:
    assert old in right
    assert errors(validator, right.replace(old, new))


def test_a_module_reference_passes_with_options_of_its_own(validator: Any, right: str) -> None:
    assert errors(validator, right.replace("name: random", "name: my_lab:Mine\n  depth: 3")) == []


def test_options_carry_description_and_default_for_an_editor(validator: Any) -> None:
    branches = validator.schema["properties"]["pruner"]["anyOf"][1]["allOf"]
    options = next(b["then"]["properties"] for b in branches if b["if"]["properties"]["name"]["const"] == "random")
    assert options["rate"]["default"] == 0.3 and options["rate"]["description"].startswith("Fraction of the")
    lr = validator.schema["properties"]["algorithm"]["properties"]["lr"]
    assert lr["description"] == "Learning rate of the clients." and lr["exclusiveMinimum"] == 0


def test_every_host_key_and_every_plugin_that_imports_is_in_it(validator: Any) -> None:
    properties = validator.schema["properties"]
    for section, keys in HOST_KEYS.items():
        assert keys <= properties[section]["properties"].keys()
    branches = properties["data"]["allOf"]
    assert {b["if"]["properties"]["name"]["const"] for b in branches} == {entry.name for entry in installed("datasets")}


def test_a_strangers_broken_plugin_is_left_out_with_a_comment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: str
) -> None:
    (tmp_path / "schema_broken.py").write_text("import no_such_module\n", encoding="utf-8")
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[priprune.pruners]\nbroken = schema_broken:X\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    pruner = schema.schema()["properties"]["pruner"]["anyOf"][1]
    assert "pruner 'broken' of stranger 1.0 (schema_broken:X) cannot be imported" in pruner["$comment"]
    assert "broken" not in {branch["if"]["properties"]["name"]["const"] for branch in pruner["allOf"]}


def test_reader_and_schema_know_the_same_top_level_keys(validator: Any, write: Write, right: str) -> None:
    for key in validator.schema["properties"].keys() - {"include"}:
        if f"{key}:" in right:
            continue
        read_scenario(write(f"{right}{key}: null\n"))
    with pytest.raises(ScenarioError):
        read_scenario(write(f"{right}unheard: null\n"))
