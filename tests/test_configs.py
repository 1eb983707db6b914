"""Every file in configs/ is valid, by the reader, by the plugins that it selects and by the schema."""

from pathlib import Path

import pytest

from priprune_plugins.catalogue import load_class
from priprune_plugins.scenario import read_scenario
from priprune_plugins.scenario.options import build_plugin
from priprune_plugins.scenario.schema import schema
from priprune_plugins.scenario.yaml_reader import read_yaml
from priprune_plugins.sweep import read_sweep
from priprune_plugins.sweep.plan import make_plan
from priprune_plugins.sweep.schema import schema as sweep_schema

FILES = sorted((Path(__file__).resolve().parent.parent / "configs").rglob("*.yaml"))
SWEEPS = [path for path in FILES if {"grid", "zip"} & read_yaml(path).plain().keys()]
CONFIGS = [path for path in FILES if path not in SWEEPS]


def test_there_is_a_quickstart() -> None:
    assert "quickstart.yaml" in [path.name for path in CONFIGS]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_valid_with_all_its_plugins(path: Path) -> None:
    for selection in read_scenario(path).selections():
        build_plugin(selection, load_class(selection))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_fits_the_schema(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    found = list(jsonschema.Draft202012Validator(schema()).iter_errors(read_yaml(path).plain()))
    assert [error.message for error in found] == []


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_is_valid_in_all_its_cells(path: Path) -> None:
    assert make_plan(read_sweep(path)).cells


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_fits_the_schema(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    found = list(jsonschema.Draft202012Validator(sweep_schema()).iter_errors(read_yaml(path).plain()))
    assert [error.message for error in found] == []
