"""What the command line refuses before torch is imported, and what it warns of."""

import subprocess
import sys
from pathlib import Path

import pytest

from priprune_plugins.cli import main
from priprune_plugins.cli.serve import _listener
from priprune_plugins.errors import ScenarioError
from priprune_plugins.run.assemble import make_plugins
from priprune_plugins.scenario import read_scenario
from priprune_plugins.scenario.options import resolved
from priprune_plugins.scenario.sections import NetworkSection


def test_every_interface_needs_its_own_option() -> None:
    for host in ("0.0.0.0", "::"):
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
        (["--set", "network.host="], "network.host must be text, got null"),
        (
            ["--set", "network.host=''"],
            "network.host must be an address or a name of this machine, got ''; give 127.0.0.1",
        ),
        (["--connect", "no..where:7654"], "--connect: no address of 'no..where' (it is no name); give the server's"),
        (["--set", "network.host=no..where"], "network.host: no address of 'no..where' (it is no name); give"),
        (
            ["--set", "network.processes=7", "--set", "data.clients=6", "--set", "algorithm.clients_per_round=2"],
            "network.processes must be at most data.clients (6), got 7; lower it, or raise data.clients",
        ),
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


def test_the_token_is_read_before_anything_that_takes_seconds(tmp_path: Path) -> None:
    code = (
        "import sys; from priprune_plugins.cli import main\n"
        f"code = main(['join', 'absent.yaml', '--connect', '127.0.0.1:1', '--token-file', {str(tmp_path)!r}])\n"
        "print(code, [name for name in ('torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.startswith(f"priprune: --token-file must be a file, got the folder {tmp_path}; to make one: ")
    assert done.stdout.strip() == "2 []"


def test_what_join_is_asked_is_read_without_torch() -> None:
    code = "import sys, priprune_plugins.network.asked; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False"


def test_the_section_survives_in_the_run_folder_and_is_absent_where_it_was_not_given(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("rounds: 1\ndata: {name: digits}\nmodel: {name: mlp}\nalgorithm: {name: fedavg}\n")
    bare = read_scenario(path)
    assert "network" not in resolved(bare, make_plugins(bare).instances())
    given = read_scenario(path, ["network.processes=3"])
    document = resolved(given, make_plugins(given).instances())
    assert document["network"] == vars(NetworkSection(processes=3))
