from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario import read_scenario

Write = Callable[..., Path]


def test_an_including_file_wins_key_by_key_and_its_lists_replace(write: Write, right: str) -> None:
    write(right, "base.yaml")
    path = write("include: base.yaml\nalgorithm: {lr: 0.5}\nattacks: [{name: sgi}]\n", "top.yaml")
    scenario = read_scenario(path)
    assert (scenario.algorithm.lr, scenario.algorithm.clients_per_round) == (0.5, 4)
    assert [attack.name for attack in scenario.attacks] == ["sgi"]


def test_the_name_defaults_to_the_file_that_is_run(write: Write, right: str) -> None:
    write(right.replace("name: small\n", ""), "base.yaml")
    assert read_scenario(write("include: base.yaml\n", "top.yaml")).name == "top"


def test_another_plugin_drops_the_options_of_the_first_and_keeps_the_hosts_keys(write: Write, right: str) -> None:
    write(right, "base.yaml")
    path = write("include: base.yaml\npruner: {name: magnitude}\ndata: {name: mnist}\n", "top.yaml")
    scenario = read_scenario(path)
    assert scenario.pruner is not None and scenario.pruner.options == {}
    assert (scenario.dataset.options, scenario.data.clients) == ({}, 20)


def test_paths_start_at_the_including_file_and_chains_work(write: Write, right: str, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    write(right, "parts/base.yaml")
    write("include: base.yaml\nseed: 4\n", "parts/middle.yaml")
    scenario = read_scenario(write("include: [parts/middle.yaml]\nrounds: 6\n"))
    assert (scenario.seed, scenario.rounds) == (4, 6)


def test_a_cycle_is_an_error_at_the_line_that_closes_it(write: Write) -> None:
    write("include: b.yaml\n")
    write("seed: 1\ninclude: a.yaml\n", "b.yaml")
    with pytest.raises(ScenarioError, match=r"b\.yaml:2: include 'a\.yaml' leads back to itself"):
        read_scenario(write("include: b.yaml\n"))


def test_a_missing_or_wrong_include_is_named(write: Write) -> None:
    with pytest.raises(ScenarioError, match=r"a\.yaml:1: include: there is no file"):
        read_scenario(write("include: none.yaml\n"))
    with pytest.raises(ScenarioError, match=r"a\.yaml:1: include must be a file name, or a list of them, got 3"):
        read_scenario(write("include: 3\n"))


def test_an_error_in_an_included_file_names_that_file(write: Write, right: str) -> None:
    write(right.replace("rounds: 5", "rounds: 0"), "base.yaml")
    with pytest.raises(ScenarioError, match=r"base\.yaml:3: rounds must be at least 1, got 0"):
        read_scenario(write("include: base.yaml\n"))
