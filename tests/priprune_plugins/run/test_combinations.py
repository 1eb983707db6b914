"""What cannot work together is refused by ``check`` as by ``run``, before data are loaded and a folder is made."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.cli import main
from priprune_plugins.errors import PluginError, ScenarioError
from priprune_plugins.run import run_scenario
from priprune_plugins.scenario import read_scenario

ALGORITHM = "algorithm={{name: {}, clients_per_round: 4, batch_size: 10, lr: 0.1}}"
SECAGG, RELEASE = "defenses=[{name: secagg}]", "defenses=[{name: release}]"
BOTH = "defenses=[{name: release}, {name: secagg, dropout: 0.1}]"
REWIND = "pruner={name: magnitude, schedule: iterative, rewind: true}"
REFUSED = {
    "qfedavg, secagg": (
        (ALGORITHM.format("qfedavg"), SECAGG),
        "algorithm cannot be combined with defense secagg: qfed",
    ),
    "ifca, secagg": ((ALGORITHM.format("ifca"), SECAGG), "algorithm cannot be combined with defense secagg: ifca"),
    "feddyn, secagg": ((ALGORITHM.format("feddyn"), SECAGG), "set aggregation.weighting: uniform"),
    "one victim, secagg": ((SECAGG, "audit.victims=1"), "audit.victims must be at least 2"),
    "feddyn, release": ((ALGORITHM.format("feddyn"), RELEASE), "release cannot be combined with algorithm feddyn"),
    "dropout, release": ((BOTH,), "secagg with dropout cannot be combined with release"),
    "ifca, prunefl": ((ALGORITHM.format("ifca"), "pruner={name: prunefl}"), "pruner prunefl cannot .* algorithm ifca"),
    "ifca, rewind": ((ALGORITHM.format("ifca"), REWIND), "pruner magnitude cannot be combined with algorithm ifca"),
    "clusters": ((ALGORITHM.format("ifca, clusters: 13"),), r"algorithm.clusters must be at most .* \(12\), got 13"),
    "candidates": ((ALGORITHM.format("powerofchoice, candidates: 13"),), "algorithm.candidates must be between"),
    "ditto, cohort": ((ALGORITHM.format("ditto"), "simulation.cohort=true"), "only the trainer of algorithm ditto"),
    "no public, snip": (("pruner={name: snip}",), "snip with source 'public' needs labelled images .*, got none"),
    "no public, grasp": (("pruner={name: grasp}",), "grasp with source 'public' needs labelled images .*, got none"),
    "no validation, learned": (
        ("defenses=[{name: random_withhold, schedule: learned}]",),
        "set data.validation above 0",
    ),
    "no validation, lotteryfl": (("pruner={name: lotteryfl}",), "lotteryfl prunes by .*; give data.validation: 0.1"),
    "absent client": (("pruner={name: prunefl, client_id: 12}",), r"pruner prunefl: .* clients \(12\), .*, got 12"),
    "feddyn, cohort": ((ALGORITHM.format("feddyn"), "simulation.cohort=true"), "cohort must be auto or false"),
}


def check(scenario_file: Path, overrides: tuple[str, ...]) -> int:
    return main(["check", str(scenario_file), *(word for one in overrides for word in ("--set", one))])


@pytest.mark.parametrize("name", REFUSED)
def test_check_and_run_refuse_the_same_and_no_folder_is_left(
    name: str, scenario_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, reason = REFUSED[name]
    with pytest.raises(ScenarioError, match=reason) as caught:
        run_scenario(read_scenario(scenario_file, overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert check(scenario_file, overrides) == 2
    assert capsys.readouterr().err == f"priprune: {caught.value}\n"


@pytest.mark.parametrize(
    "overrides",
    [
        (ALGORITHM.format("feddyn"), SECAGG, "aggregation.weighting=uniform", "audit=null"),
        (ALGORITHM.format("ifca, clusters: 12"), "pruner={name: prunefl, initial: magnitude}"),
        (ALGORITHM.format("ifca"), "pruner={name: magnitude, rewind: true}"),
        (ALGORITHM.format("ditto"), "simulation.cohort=auto"),
        ("pruner={name: snip}", "data.public=20"),
        ("pruner={name: snip, source: client, client_id: 11}",),
        ("pruner={name: lotteryfl}", "defenses=[{name: largest, schedule: learned}]", "data.validation=0.1"),
        ("pruner={name: lotteryfl, rate: 0}",),
    ],
)
def test_what_works_is_valid(overrides: tuple[str, ...], scenario_file: Path) -> None:
    assert check(scenario_file, overrides) == 0


PLUGIN = """
from dataclasses import dataclass
from priprune_plugins import ScenarioError, hookimpl

@dataclass(frozen=True, eq=False)
class Particular:
    when: int

    @hookimpl
    def on_run_start(self, run):
        if self.when < 0:
            raise ScenarioError("not like this")

    @hookimpl
    def on_round_start(self, server):
        if server.round_idx == self.when:
            raise RuntimeError("not now")
"""


Particular = Callable[[int], tuple[str, ...]]


@pytest.fixture
def particular(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Particular:
    """Select a pruner that fails at a round's start, or at the run's where that is -1."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "particular", raising=False)
    (tmp_path / "particular.py").write_text(PLUGIN)
    return lambda when: (f"pruner={{name: 'particular:Particular', when: {when}}}", "attacks=[]", "audit=null")


KINDS = {
    "data set": "data={name: 'choosy:Data', clients: 12}",
    "model": "model={name: 'choosy:Model'}",
    "algorithm": "algorithm={name: 'choosy:Algorithm', clients_per_round: 4}",
    "tracker": "trackers=[{name: 'choosy:Tracker'}]",
}
CHOOSY = """
from dataclasses import dataclass
from priprune_plugins import ScenarioError, hookimpl
from priprune_plugins.simulation.algorithm import Algorithm as Host

class Choosy:
    def check_scenario(self, scenario):
        if scenario["seed"] == 3:
            raise ScenarioError("not with seed 3")
        scenario["no such section"]

@dataclass(frozen=True, eq=False)
class Data(Choosy):
    def load(self): ...

@dataclass(frozen=True, eq=False)
class Model(Choosy):
    def build(self, image_shape, num_classes): ...

@dataclass(frozen=True, eq=False)
class Algorithm(Choosy, Host):
    pass

@dataclass(frozen=True, eq=False)
class Tracker(Choosy):
    @hookimpl
    def on_run_end(self, run): ...
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_of_every_kind_may_refuse_a_scenario_and_one_that_fails_is_named(
    kind: str, scenario_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "choosy", raising=False)
    (tmp_path / "choosy.py").write_text(CHOOSY)
    assert check(scenario_file, (KINDS[kind],)) == 2
    at = KINDS[kind].partition("=")[0]
    assert capsys.readouterr().err == f"priprune: --set {at}: not with seed 3\n"
    assert check(scenario_file, (KINDS[kind], "seed=4")) == 1
    assert f"{kind} choosy:" in (error := capsys.readouterr().err)
    assert error.endswith(" failed in check_scenario: KeyError: 'no such section'\n")


@pytest.mark.parametrize(("when", "error"), [(-1, ScenarioError), (0, PluginError), (1, PluginError)])
def test_a_run_that_ends_before_its_first_round_is_done_leaves_no_folder(
    when: int, error: type[Exception], run: Callable[..., Path], tmp_path: Path, particular: Particular
) -> None:
    with pytest.raises(error, match=r"not (like this|now)"):
        run("a", *particular(when))
    assert (tmp_path / "a").exists() == (when == 1)


def test_a_folder_that_was_there_stays_where_its_resume_is_refused(
    scenario_file: Path, tmp_path: Path, particular: Particular
) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ScenarioError, match="not like this"):
        run_scenario(read_scenario(scenario_file, particular(-1)), tmp_path / "a", resume=True)
    assert (tmp_path / "a" / "scenario.yaml").exists()
