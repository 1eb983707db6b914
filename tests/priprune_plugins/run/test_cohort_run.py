"""A whole run whose clients train together."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins import ScenarioError
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import make_federation, make_plugins, make_world
from priprune_plugins.scenario import read_scenario
from priprune_plugins.simulation.cohort import CohortCrew
from priprune_plugins.simulation.crew import OneByOne


def test_a_run_with_cohorts_has_the_figures_of_a_run_without(run: Callable[..., Path]) -> None:
    lines = []
    for cohort in ("false", "true"):
        folder = run(cohort, f"simulation.cohort={cohort}", "simulation.cohort_size=3", "attacks=[]")
        lines.append([json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()])
    for alone, together in zip(*lines, strict=True):
        assert together["clients"] == alone["clients"]
        assert together["loss"] == pytest.approx(alone["loss"], abs=1e-5)
        assert together["withheld_rate"] == pytest.approx(alone["withheld_rate"], abs=1e-6)


@pytest.mark.parametrize(("cohort", "crew"), [("auto", OneByOne), ("true", CohortCrew)])
def test_the_scenario_says_who_trains(scenario_file: Path, cohort: str, crew: type) -> None:
    scenario = read_scenario(scenario_file, [f"simulation.cohort={cohort}"])
    plugins = make_plugins(scenario)
    made = make_federation(scenario, plugins, make_world(scenario, plugins), PluginHost(plugins.hooked))
    assert isinstance(made.crew, crew)


def test_a_cohort_in_this_process_and_other_processes_exclude_each_other(scenario_file: Path) -> None:
    scenario = read_scenario(scenario_file, ["simulation.cohort=true"])
    plugins = make_plugins(scenario)
    with pytest.raises(ScenarioError, match=r"simulation\.cohort must be auto or false where other processes train"):
        make_federation(scenario, plugins, make_world(scenario, plugins), PluginHost(plugins.hooked), OneByOne)


def test_a_cohort_size_must_be_at_least_one(scenario_file: Path) -> None:
    with pytest.raises(ScenarioError, match=r"simulation\.cohort_size"):
        read_scenario(scenario_file, ["simulation.cohort_size=0"])
