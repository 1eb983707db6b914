"""Every file in configs/ is valid, by the reader, by the plugins that it selects and by the schema."""

import json
from pathlib import Path

import pytest

from priprune_plugins.catalogue import load_class
from priprune_plugins.run import run_scenario
from priprune_plugins.run.audit import attacked_rounds
from priprune_plugins.scenario import read_scenario
from priprune_plugins.scenario.options import build_plugin
from priprune_plugins.scenario.schema import schema
from priprune_plugins.scenario.yaml_reader import read_yaml
from priprune_plugins.sweep import read_sweep
from priprune_plugins.sweep.plan import make_plan
from priprune_plugins.sweep.schema import schema as sweep_schema

FILES = sorted((Path(__file__).resolve().parent.parent / "configs").rglob("*.yaml"))
PAPERS = Path(__file__).resolve().parent.parent / "configs" / "paper"
SWEEPS = [path for path in FILES if {"grid", "zip"} & read_yaml(path).plain().keys()]
CONFIGS = [path for path in FILES if path not in SWEEPS]
SCALED = [(path, scale) for path in SWEEPS for scale in read_yaml(path).plain().get("scales", {})]
# Of PriPrune, and of "Privacy-preserving Learning via Deep Net Pruning".
FIGURES = (
    *("2a", "2b", "2c", "2d", "4", "5a", "5b", "5c", "5d", "6", "7", "8", "9"),
    *("10a", "10b", "10c", "10d", "11", "12", "13"),
)
SECOND = ("table1_mnist", "table1_cifar10", "fig1", "fig2_mnist", "fig2_cifar10")
PAPER = [*(f"fig{figure}" for figure in FIGURES), "table1", *(f"deep_net_pruning_{figure}" for figure in SECOND)]


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


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.parent.name == "algorithms"], ids=lambda p: p.stem)
def test_an_algorithm_s_config_may_run_for_fewer_rounds(path: Path) -> None:
    assert attacked_rounds(read_scenario(path, ["rounds=5"])) == {0, 4}


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_is_valid_in_all_its_cells(path: Path) -> None:
    assert make_plan(read_sweep(path)).cells


@pytest.mark.parametrize(("path", "scale"), SCALED, ids=lambda value: getattr(value, "stem", value))
def test_a_sweep_is_valid_at_its_other_scales(path: Path, scale: str) -> None:
    assert make_plan(read_sweep(path, [f"scale={scale}"])).cells


@pytest.mark.parametrize("figure", PAPER)
def test_each_figure_of_the_papers_is_a_sweep_with_figures_and_a_small_scale(figure: str) -> None:
    path = next(path for path in SWEEPS if path.parent == PAPERS and path.stem == figure)
    assert read_sweep(path).figures and (path, "smoke") in SCALED


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_fits_the_schema(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    found = list(jsonschema.Draft202012Validator(sweep_schema()).iter_errors(read_yaml(path).plain()))
    assert [error.message for error in found] == []


@pytest.mark.slow
def test_the_second_paper_s_clients_send_what_a_layer_makes_of_the_attacked_image(tmp_path: Path) -> None:
    path = tmp_path / "sent.yaml"
    path.write_text(
        "name: sent\n"
        "rounds: 1\n"
        f"modules: ['{PAPERS}']\n"
        "data: {name: digits, size: 14, clients: 5, partition: iid}\n"
        "model: {name: mini}\n"
        "algorithm: {name: 'representations:RepresentingFedAvg', layers: [net.conv1], clients_per_round: 2}\n"
        "pruner: {name: random, rate: 0.3}\n"
        "attacks: [{name: feature_inversion, layer: net.conv1, representation: net.conv1, starts: [mean]}]\n"
        "audit: {victims: 1, rounds: [0]}\n",
        encoding="utf-8",
    )
    folder = run_scenario(read_scenario(path), tmp_path / "run")
    found = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["attacks"]["feature_inversion"]
    # A first convolution gives its input back, dense or pruned, where weights and image are those of the upload.
    assert found["psnr_db"] > 40 and found["positive_control"]["passed"]
