"""A model of a user's own that cannot be trained is refused by name, in one line."""

import sys
from pathlib import Path

import pytest

from priprune_plugins.cli import main
from priprune_plugins.errors import PluginRuleError, PriPruneError
from priprune_plugins.run.assemble import make_plugins, make_world
from priprune_plugins.scenario import read_scenario

MODELS = """
from dataclasses import dataclass
import torch
from torch import nn

class Bare(nn.Module):
    pass

@dataclass(frozen=True, eq=False)
class Buildless:
    width: int = 3

@dataclass(frozen=True, eq=False)
class Built:
    what: str

    def build(self, image_shape, num_classes):
        nets = {
            "number": 3,
            "flat": nn.Flatten(),
            "narrow": nn.Sequential(nn.Flatten(), nn.Linear(5, num_classes)),
            "deep": nn.Sequential(nn.Flatten(), nn.Linear(196, 5)),
            "right": nn.Sequential(nn.Flatten(), nn.BatchNorm1d(196), nn.Dropout(0.5), nn.Linear(196, num_classes)),
        }
        return nets[self.what]
"""


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    (tmp_path / "own_models.py").write_text(MODELS)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent:Net", "ModuleNotFoundError: No module named 'absent'; there is no absent.py in "),
        ("own_models.py:Built", "write it without .py: own_models:Class"),
        ("own_models:Absent", "holds no such class; looked in "),
        (
            "own_models:Bare",
            "with build(image_shape, num_classes), got the nn.Module Bare itself; let build return one",
        ),
        ("own_models:Buildless", "got Buildless without build; add it"),
        ("broken:Net", "ZeroDivisionError: division by zero ("),
    ],
)
def test_check_names_what_is_wrong_with_a_file_or_class(
    name: str, reason: str, scenario_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text("\n1 / 0\n")
    assert main(["check", str(scenario_file), "--set", f"model.name={name}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("priprune: --set model.name: model.name") and reason in line
    assert "broken" not in name or f"{tmp_path / 'broken.py'}:2)" in line


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("absent", "its build fails: KeyError: 'absent'"),
        ("number", "its build must return an nn.Module, got int"),
        ("flat", "its build must return an nn.Module with parameters, got Flatten without any"),
        ("narrow", r"its forward fails on images \[1, 14, 14\]: RuntimeError: .*shapes cannot be multiplied"),
        ("deep", r"its forward must give logits \[2, 10\] for two images, got \[2, 5\]"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_before_the_run(what: str, reason: str, scenario_file: Path) -> None:
    scenario = read_scenario(scenario_file, [f"model={{name: 'own_models:Built', what: {what}}}"])
    with pytest.raises(PriPruneError, match=f"model.name own_models:Built: {reason}") as caught:
        make_world(scenario, make_plugins(scenario))
    assert caught.value.exit_code == 2


NORMED = "model={name: 'own_models:Built', what: right}"
UNATTACKED = ("attacks=[]", "audit=null")


def test_trying_a_model_leaves_its_mode_and_statistics(scenario_file: Path) -> None:
    scenario = read_scenario(scenario_file, [NORMED, *UNATTACKED])
    model = make_world(scenario, make_plugins(scenario)).model
    norm = next(module for module in model.modules() if type(module).__name__ == "BatchNorm1d")
    assert model.training and norm.training and int(norm.num_batches_tracked) == 0
    assert not norm.running_mean.any()


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        ((), "the attacks' positive control takes 1 image: use another norm, or leave attacks and audit out"),
        (
            (
                *UNATTACKED,
                "data.train=252",
                "algorithm={name: fedavg, clients_per_round: 4, batch_size: 10, epochs: 1}",
            ),
            "client 0 has 21 images in batches of 10: use another norm, or another algorithm.batch_size",
        ),
    ],
)
def test_a_batch_that_a_norm_cannot_be_trained_on_is_refused_before_the_run(
    overrides: tuple[str, ...], why: str, scenario_file: Path
) -> None:
    scenario = read_scenario(scenario_file, [NORMED, *overrides])
    with pytest.raises(
        PluginRuleError, match="its forward fails in train mode on a batch of 1: ValueError: Expected more than 1 value"
    ) as caught:
        make_world(scenario, make_plugins(scenario))
    assert str(caught.value).endswith(f"; {why}")
