import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.cli import main

SWEEP = """\
name: small
base:
  device: cpu
  rounds: 2
  data: {name: digits, size: 14, clients: 4}
  model: {name: small14}
  algorithm: {name: fedavg, clients_per_round: 2}
  evaluation: {clients: 1}
  pruner: {name: 'cli_moody:Moody'}
grid: {pruner.fails: [true, false], seed: [1]}
"""
MOODY = """
from dataclasses import dataclass
from priprune_plugins import hookimpl

@dataclass(frozen=True, eq=False)
class Moody:
    fails: bool = False

    @hookimpl
    def on_round_start(self, server):
        if self.fails:
            raise RuntimeError("not today")
"""


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Write a sweep beside a pruner that fails where it is told to; give the arguments that run it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "cli_moody", raising=False)
    (tmp_path / "cli_moody.py").write_text(MOODY, encoding="utf-8")

    def write(text: str = SWEEP) -> list[str]:
        (tmp_path / "small.yaml").write_text(text, encoding="utf-8")
        return ["sweep", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out")]

    return write


def test_a_dry_run_lists_cells_keys_and_states_and_writes_nothing(
    sweep: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*sweep(), "--dry-run"]) == 0
    rows = [row.rstrip() for row in capsys.readouterr().out.splitlines()]
    assert [row.split()[0] for row in rows[1:3]] == ["pending", "pending"]
    assert rows[1].endswith("fails=true seed=1") and rows[2].endswith("fails=false seed=1")
    assert rows[3] == f"2 cells, 2 trainings, in {tmp_path / 'out'}"
    assert not (tmp_path / "out").exists()


def test_check_takes_a_sweep_with_all_its_cells_and_figures(
    sweep: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figure = "figures: [{title: a, x: pruner.fails, y: accuracy}]\n"
    path = sweep(SWEEP + figure)[1]
    assert main(["check", path]) == 0
    assert capsys.readouterr().out == f"{path} is valid: 2 cells, 2 trainings, 1 figures\n"
    sweep(SWEEP + figure.replace("accuracy", "acuracy"))
    assert main(["check", path]) == 2
    assert "small.yaml:11: figures[0].y is no figure of the results, got 'acuracy'; did you mean 'accuracy'?" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: [1]", "seed: [1, -1]", "small.yaml:10: seed must be at least 0, got -1 (cell fails=true seed=-1)"),
        ("[true, false]", "[true, maybe]", "pruner.fails must be true or false, got 'maybe'"),
        ("grid:", "grids:", "grids is unknown; did you mean 'grid'?"),
        ("device: cpu", "device: cuda", "device cuda is not there"),
    ],
)
def test_wrong_input_exits_2_in_one_line_before_anything_runs(
    old: str,
    new: str,
    message: str,
    sweep: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    import torch

    if "cuda" in new and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert old in SWEEP
    assert main(sweep(SWEEP.replace(old, new))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_refused_without_resume(
    sweep: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    assert main(sweep()) == 2
    assert "exists already: give --resume" in capsys.readouterr().err
    assert main([*sweep(), "--resume"]) == 2
    assert "is no sweep's folder" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--workers", "2", "--ray", "local"]])
def test_wrong_arguments_exit_2(
    arguments: list[str], sweep: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*sweep(), *arguments]) == 2
    assert "usage: priprune sweep" in capsys.readouterr().err


def test_help_of_sweep_imports_no_torch() -> None:
    code = "import sys; from priprune_plugins.cli import main; main(['sweep', '--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_sweep_given_as_a_scenario_is_told_where_it_belongs(
    sweep: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = sweep()[1]
    assert main(["run", path]) == 2
    assert f"{path}:2: base is a sweep's key, this is no scenario: give it to priprune sweep" in capsys.readouterr().err


@pytest.mark.end_to_end
def test_a_failed_cell_exits_1_with_a_table_and_the_report_is_drawn_anew(
    sweep: Callable[..., list[str]], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*sweep(), "--workers", "1"]) == 1
    captured = capfd.readouterr()
    out = captured.out.splitlines()
    assert out[0] == str(tmp_path / "out" / "report.html")
    assert any(line.startswith("fails=true seed=1") and "RuntimeError: not today" in line for line in out)
    assert out[-1] == "1 of 2 cells failed; --resume tries them again"
    progress = captured.err
    assert "failed  fails=true seed=1: pruner Moody failed" in progress and "done    fails=false seed=1, " in progress
    (row,) = (json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines())
    assert row["pruner.fails"] is False and row["seed"] == 1
    (tmp_path / "out" / "report.html").unlink()
    assert main(["report", str(tmp_path / "out")]) == 0
    assert "not today" in (tmp_path / "out" / "report.html").read_text()


def test_schema_of_sweeps_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "sweep"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "priprune sweep"
