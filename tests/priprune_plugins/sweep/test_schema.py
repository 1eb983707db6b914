from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.scenario.yaml_reader import read_yaml
from priprune_plugins.sweep.schema import schema

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def validator() -> Any:
    document = schema()
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


RIGHT = [
    "grid: {pruner.rate: [0.1, 0.3], 'attacks[0].iterations': {few: 3, many: 30}}\n",
    "zip: {seed: [1, 2], rounds: [3, 4]}\nexclude: [{seed: 1, rounds: [3]}]\nthreads: 2\nname: x\n",
    "zip: [{seed: [1]}, {rounds: [3]}]\n",
    "grid: {seed: [1]}\nfigures: [{title: a, x: seed, y: nmi, series: [pruner, attack], where: {seed: 1}}]\n",
]


@pytest.mark.parametrize("rest", RIGHT)
def test_a_right_sweep_validates(rest: str, validator: Any, write: Callable[..., Path]) -> None:
    assert [error.message for error in validator.iter_errors(read_yaml(write(rest)).plain())] == []


WRONG = [
    "",
    "grid: {seed: 1}\n",
    "grid: {seed: []}\n",
    "grid: {pruner: {name: snip}}\n",
    "grid: {seed..x: [1]}\n",
    "grod: {seed: [1]}\n",
    "grid: {seed: [1]}\nexclude: [{}]\n",
    "grid: {seed: [1]}\nthreads: 0\n",
    "grid: {seed: [1]}\nfigures: [{x: seed, y: nmi}]\n",
    "grid: {seed: [1]}\nfigures: [{title: a, kind: lines}]\n",
]


@pytest.mark.parametrize("rest", WRONG)
def test_a_wrong_sweep_fails(rest: str, validator: Any, write: Callable[..., Path]) -> None:
    assert not validator.is_valid(read_yaml(write(rest)).plain())


def test_the_base_is_a_scenario_with_the_options_of_its_plugins(validator: Any, write: Callable[..., Path]) -> None:
    document = read_yaml(write("grid: {seed: [1]}\n")).plain()
    document["base"]["pruner"]["rate"] = 1.5
    assert not validator.is_valid(document)
    assert validator.is_valid({**document, "base": "quickstart.yaml"})
