import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.catalogue import KINDS
from priprune_plugins.cli import INTERRUPTED, commands, main

SCENARIO = """\
rounds: 2
data: {name: digits, clients: 4}
model: {name: mini}
algorithm: {name: fedavg, clients_per_round: 2}
pruner: {name: cli_loud:Loud}
"""
LOUD = """
from dataclasses import dataclass
from pathlib import Path
from priprune_plugins import Rate, hookimpl

Path(__file__).with_name("imported").touch()

@dataclass(frozen=True, eq=False)
class Loud:
    rate: Rate = 0.3

    @hookimpl
    def on_round_start(self, server):
        pass
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a scenario beside a plugin whose import leaves a file behind."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "cli_loud", raising=False)
    (tmp_path / "cli_loud.py").write_text(LOUD, encoding="utf-8")

    def write(text: str = SCENARIO) -> Path:
        (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
        return tmp_path / "a.yaml"

    return write


def only_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


def test_check_says_that_a_right_scenario_is_valid(
    scenario: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = scenario()
    assert main(["check", str(path)]) == 0
    line = f"{path} is valid: fedavg, cli_loud:Loud, digits, mini"
    assert capsys.readouterr().out.strip() == line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rounds: 2", "rounds: [2", "wrong YAML"),
        ("rounds: 2", "roundz: 2", "roundz is unknown"),
        ("name: mini", "name: mimi", "unknown model 'mimi'; did you mean 'mini'?"),
    ],
)
def test_check_answers_yaml_keys_and_names_before_it_imports_a_plugin(
    old: str,
    new: str,
    message: str,
    scenario: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert main(["check", str(scenario(SCENARIO.replace(old, new)))]) == 2
    assert message in only_line(capsys.readouterr().err)
    assert not (tmp_path / "imported").exists()


def test_check_imports_the_selected_plugin_and_refuses_its_options(
    scenario: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["check", str(scenario()), "--set", "pruner.rate=1.5"]) == 2
    assert only_line(capsys.readouterr().err) == ("priprune: --set pruner.rate: pruner.rate must be in [0, 1), got 1.5")
    assert (tmp_path / "imported").exists()


def test_check_refuses_a_plugin_without_hooks(
    scenario: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "cli_loud.py").write_text(LOUD.replace("    @hookimpl\n", ""), encoding="utf-8")
    assert main(["check", str(scenario())]) == 2
    assert "defines on_round_start without @hookimpl" in only_line(capsys.readouterr().err)


def test_list_names_every_kind_and_json_has_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["kind"] for row in rows} <= set(KINDS)
    digits = next(row for row in rows if row["name"] == "digits")
    assert digits["kind"] == "datasets" and digits["value"] == "priprune_plugins.data.digits:Digits"
    assert digits["distribution"] == "priprune-plugins"


def test_list_of_one_kind_keeps_every_row_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "defenses"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert any(
        row.split() == ["defenses", "largest", "priprune-plugins", "0.1.0", "priprune_defenses.largest:Largest"]
        for row in rows
    )


def test_attack_and_report_refuse_what_is_no_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", str(tmp_path), "--attack", "gi"]) == 2
    assert f"{tmp_path} is no run folder" in only_line(capsys.readouterr().err)
    assert main(["attack", str(tmp_path), "--attack", "gj"]) == 2
    assert "unknown attack 'gj'" in only_line(capsys.readouterr().err)
    assert main(["report", str(tmp_path)]) == 2
    assert f"{tmp_path} is no run folder" in only_line(capsys.readouterr().err)


@pytest.mark.parametrize("arguments", [["run"], ["walk"], ["list", "prunes"], ["new", "model", "x"]])
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage: priprune" in capsys.readouterr().err


def test_an_interrupt_is_one_line_and_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(kind: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "installed", interrupted)
    assert main(["list"]) == INTERRUPTED
    assert only_line(capsys.readouterr().err).startswith("priprune: interrupted")


def test_a_bug_is_one_line_and_a_traceback_only_with_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(kind: str) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(commands, "installed", broken)
    assert main(["list"]) == 1
    line = only_line(capsys.readouterr().err)
    assert "RuntimeError: first line" in line and "--debug" in line and "second" not in line
    with pytest.raises(RuntimeError):
        main(["list", "--debug"])


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["new", "--help"], ["list"], ["list", "--json"]])
def test_help_and_list_import_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from priprune_plugins.cli import main\n"
        f"code = main({arguments!r})\n"
        "heavy = [n for n in ('torch', 'numpy', 'fedlab', 'sklearn', 'priprune_pruners') if n in sys.modules]\n"
        "print(code, heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "0 []"


def test_a_reader_that_stops_early_gets_no_traceback() -> None:
    command = f"{sys.executable} -m priprune_plugins.cli list --json | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[", "")
