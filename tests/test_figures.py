"""Figures that a right implementation shows, through the whole product; slow, run by their own command."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from priprune_plugins.run import run_scenario
from priprune_plugins.scenario import read_scenario

pytestmark = pytest.mark.slow

TRAINING = """
name: figures
seed: 0
device: cpu
rounds: 70
data: {name: digits, size: 14, num_classes: 62, clients: 60, partition: dirichlet, alpha: 1.0}
model: {name: small14, init: he}
algorithm: {name: fedavg, clients_per_round: 10, batch_size: 20, lr: 0.1}
pruner: {name: magnitude, rate: 0.3}
"""

# A start at the mean image, or a prior that is hot at first, stays near 13 dB where an attack finds nothing; from noise
# and with a constant prior, nothing shows as 7 dB.
ATTACK = """
name: figures
seed: 0
device: cpu
rounds: 1
data: {name: digits, num_classes: 62, clients: 60, partition: dirichlet, alpha: 1.0}
model: {name: mini, init: he}
algorithm: {name: fedavg, clients_per_round: 10, batch_size: 20, lr: 0.1}
pruner: {name: random, rate: 0.3}
attacks:
  - {name: sgi, iterations: 200, starts: [uniform], tv: [0.0001], heat: 1, sign: false}
  - {name: gi, iterations: 200, starts: [uniform], tv: [0.0001], heat: 1, sign: false}
audit: {batch_size: 1, victims: 3, rounds: [0]}
"""


def figures(tmp_path: Path, text: str, *overrides: str) -> dict[str, Any]:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    folder = run_scenario(read_scenario(path, overrides), tmp_path / "run")
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return read


def test_small14_trains_under_magnitude_pruning(tmp_path: Path) -> None:
    assert figures(tmp_path, TRAINING)["accuracy"] >= 0.90


@pytest.mark.parametrize("defense", ["largest", "random_withhold"])
def test_absent_zeros_never_trains_with_a_defence(tmp_path: Path, defense: str) -> None:
    overrides = (f"defenses=[{{name: {defense}, rate: 0.3}}]", "aggregation={absent: zeros}")
    read = figures(tmp_path, TRAINING, *overrides)
    assert read["accuracy"] <= 0.20
    assert any("absent: zeros" in warning for warning in read["warnings"])


def test_sgi_reconstructs_through_random_pruning_where_gi_does_not(tmp_path: Path) -> None:
    # Ten victims of two seeds: with three, GI's mean wanders by a decibel from seed to seed. SGI takes its default
    # starts, with which its positive control passes; from noise alone it does not always.
    weak = "{name: gi, iterations: 200, starts: [uniform], tv: [0.0001], heat: 1, sign: false}"
    attacks = f"attacks=[{{name: sgi}}, {weak}]"
    runs = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        runs.append(figures(folder, ATTACK, attacks, f"seed={seed}", "audit.victims=5")["attacks"])
    assert fmean(read["sgi"]["psnr_db"] for read in runs) >= 17
    assert fmean(read["sgi"]["nmi"] for read in runs) >= 0.35
    assert fmean(read["gi"]["psnr_db"] for read in runs) <= 9
    assert all(read["sgi"]["positive_control"]["passed"] for read in runs)


STRONGER = "labels that used to be searched are counted right: 10.6 dB, under the mean image's 13.9 but over 8"


@pytest.mark.parametrize(
    ("defense", "protects"),
    [
        pytest.param("largest", True, marks=pytest.mark.xfail(strict=True, reason=STRONGER)),
        ("random_withhold", False),
    ],
)
def test_withholding_by_size_protects_pixels_and_at_random_hardly(tmp_path: Path, defense: str, protects: bool) -> None:
    sgi = figures(tmp_path, ATTACK, f"defenses=[{{name: {defense}, rate: 0.3}}]")["attacks"]["sgi"]
    if protects:
        assert sgi["psnr_db"] <= 8
        assert sgi["nmi"] <= 0.12
    else:
        assert sgi["psnr_db"] >= 13
