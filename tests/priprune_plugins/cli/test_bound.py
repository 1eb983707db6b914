import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from priprune_plugins.cli import main
from priprune_plugins.run import run_scenario
from priprune_plugins.scenario import read_scenario

LAW = ["--rate", "0.5", "--batch-size", "4", "--d-star", "2", "--delta", "3"]
LAYER = ["--rate", "0.5", "--width", "8", "--inputs", "4", "--sigma-a", "0.5"]
SCENARIO = """
rounds: 1
data: {name: digits, size: 14, clients: 4, partition: iid}
model: {name: small14}
algorithm: {name: fedavg, clients_per_round: 2}
pruner: {name: random, rate: 0.3}
audit: {batch_size: 1, victims: 2}
"""


def test_options_give_the_figures_computed_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bound", *LAW, "--rounds", "10"]) == 0
    text = capsys.readouterr().out
    # Theorem 1 printed 11.549, corrected 0.188, Corollary 1 over 10 rounds 115.49; see test_theorem.py.
    (row,) = [line for line in text.splitlines() if line.startswith("    -")]
    assert row.split() == ["-", "0.500", "4", "-", "2", "3.0", "1.361", "11.5", "0.2", "-", "-", "10", "115.5"]
    assert "rank nothing" in text


def test_theorem_4_2_from_options_prints_its_constants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bound", *LAYER, "--constant", "3"]) == 0
    text = capsys.readouterr().out
    assert "C = 3, noise scale sigma = 1; the paper gives none" in text
    assert "cannot be evaluated" in text and "printed" not in text


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--rate", "1.5", *LAW[2:]], "--rate must be in [0, 1), got 1.5"),
        (["--rate", "nan", *LAW[2:]], "--rate must be in [0, 1), got nan"),
        ([*LAW[:2], "--batch-size", "0", *LAW[4:]], "--batch-size must be at least 1, got 0"),
        (LAW[:4], "missing --d-star, --delta: give --rate, --batch-size, --d-star, --delta, or a run folder, which"),
        ([], "missing --rate"),
        ([*LAW, "--remaining", "3"], "missing --never-pruned, --parameters"),
        ([*LAW, "--never-pruned", "5", "--remaining", "6", "--parameters", "10"], "are more than --parameters"),
        ([*LAW, "--samples", "9"], "--samples: it is for a run folder: give one"),
        (LAYER[:4], "missing --inputs, --sigma-a"),
        ([*LAYER, "--rounds", "3"], "missing --batch-size, --d-star, --delta"),
        (["runs/none"], "runs/none is no run folder"),
        (["runs/none", "--rate", "0.3"], "--rate: a run folder gives that itself: leave it out"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bound", *arguments]) == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert line in printed


def test_a_run_gets_bound_json_a_table_and_a_section_in_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_text(SCENARIO)
    run = run_scenario(read_scenario(tmp_path / "a.yaml", []), tmp_path / "run")
    assert main(["bound", str(run), "--samples", "12", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content == json.loads((run / "bound.json").read_text())
    assert content["points"][0]["samples"] == 12
    assert "Leakage bounds of the papers" in (run / "report.html").read_text()
    shutil.rmtree(run / "captures")
    assert main(["bound", str(run)]) == 2
    assert "holds no captures" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["bound", "--help"], ["agreement", "--help"], ["bound", *LAW]])
def test_help_and_the_bounds_of_options_import_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from priprune_plugins.cli import main\n"
        f"code = main({arguments!r})\n"
        "print(code, [n for n in ('torch', 'numpy', 'scipy', 'fedlab') if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "0 []"
