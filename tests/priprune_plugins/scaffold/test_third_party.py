"""A stranger's distributions, built and installed as any other, beside ours."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from priprune_plugins.scaffold import write_plugin

pytest.importorskip("hatchling")
SCENARIO = """\
rounds: 2
data: {name: digits, clients: 4}
model: {name: mini}
algorithm: {name: fedavg, clients_per_round: 2}
pruner: {name: strange, rate: 0.4}
attacks: [{name: odd, iterations: 5}]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheels of a pruner and an attack are installed."""
    root = tmp_path_factory.mktemp("strangers")
    for kind, name in (("pruner", "strange"), ("attack", "odd")):
        folder = write_plugin(kind, name, root / name)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(root / "wheels")]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    for wheel in (root / "wheels").glob("*.whl"):
        # Installing a pure wheel is unpacking it; neither pip nor uv need be there.
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(root / "site")
    return root / "site"


def priprune(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "priprune_plugins.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_list_shows_an_installed_strangers_plugins(site: Path) -> None:
    rows = json.loads(priprune(site, "list", "--json").stdout)
    found = {(row["kind"], row["name"], row["distribution"], row["version"]) for row in rows}
    assert ("pruners", "strange", "priprune-pruner-strange", "0.1.0") in found
    assert ("attacks", "odd", "priprune-attack-odd", "0.1.0") in found


@pytest.mark.end_to_end
def test_a_scenario_selects_them_by_name(site: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    done = priprune(site, "check", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == f"{path} is valid: fedavg, strange, odd, digits, mini"
    wrong = priprune(site, "check", str(path), "--set", "pruner.rate=1")
    assert wrong.returncode == 2 and "pruner.rate must be in [0, 1), got 1" in wrong.stderr
