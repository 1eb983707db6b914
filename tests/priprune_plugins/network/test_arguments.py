"""What the command line refuses before torch is imported, and what it warns of."""

import pytest

from priprune_plugins.cli import main
from priprune_plugins.cli.serve import _listener
from priprune_plugins.errors import ScenarioError
from priprune_plugins.run.assemble import make_plugins
from priprune_plugins.scenario import read_scenario
from priprune_plugins.scenario.options import resolved
from priprune_plugins.scenario.sections import NetworkSection


def test_every_interface_needs_its_own_option() -> None:
    for host in ("0.0.0.0", "::", ""):
        with pytest.raises(ScenarioError, match="--any-interface"):
            _listener(NetworkSection(host=host, port=0), any_interface=False)


def test_every_interface_is_warned_of_and_this_machine_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    _listener(NetworkSection(host="0.0.0.0", port=0), any_interface=True).close()
    assert "every network of this machine can reach 0.0.0.0:" in capsys.readouterr().err
    _listener(NetworkSection(port=0), any_interface=False).close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--connect", "here"], "--connect must be HOST:PORT, got 'here'"),
        (["--clients", "3"], "--clients must be FIRST-LAST, for instance 0-96, got '3'"),
        (["--set", "network.timeout_seconds=1"], "network.timeout_seconds must be"),
        (["--set", "network.hosts=1"], "network.hosts"),
    ],
)
def test_join_names_what_is_wrong(
    options: list[str], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    monkeypatch.setenv("PRIPRUNE_TOKEN", "0123456789abcdef")
    path = tmp_path / "a.yaml"
    path.write_text("rounds: 1\ndata: {name: digits}\nmodel: {name: mlp}\nalgorithm: {name: fedavg}\n")
    assert main(["join", str(path), *options]) == 2
    assert reason in capsys.readouterr().err


def test_the_section_survives_in_the_run_folder_and_is_absent_where_it_was_not_given(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("rounds: 1\ndata: {name: digits}\nmodel: {name: mlp}\nalgorithm: {name: fedavg}\n")
    bare = read_scenario(path)
    assert "network" not in resolved(bare, make_plugins(bare).instances())
    given = read_scenario(path, ["network.processes=3"])
    document = resolved(given, make_plugins(given).instances())
    assert document["network"] == vars(NetworkSection(processes=3))
