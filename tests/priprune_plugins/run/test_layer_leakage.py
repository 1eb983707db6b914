"""Which layers of an upload leak, on a model of two layers by hand and in a run."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from priprune_plugins.layout import Layout
from priprune_plugins.messages import Observation
from priprune_plugins.report.layer_table import layer_rows
from priprune_plugins.report.run_files import read_run
from priprune_plugins.run import run_scenario
from priprune_plugins.run.layer_leakage import layer_leakage
from priprune_plugins.scenario import read_scenario

SCENARIO = """\
name: layers
seed: 3
device: cpu
rounds: 2
data: {name: digits, size: 14, clients: 6, partition: iid}
model: {name: small14}
algorithm: {name: fedavg, clients_per_round: 2, batch_size: 10, lr: 0.1}
pruner: {name: random, rate: 0.3}
audit: {batch_size: 1, victims: 2, rounds: [0, 1]}
evaluation: {clients: 1}
"""


def test_a_coordinate_shows_nothing_where_it_is_0_or_the_broadcast() -> None:
    layout = Layout(("a", "b"), (torch.Size([3]), torch.Size([2])), (True, True))
    gradient = torch.tensor([3.0, 4.0, 5.0, 0.0, 0.0])
    broadcast = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0])
    upload = torch.tensor([0.7, 1.0, 0.0, 1.0, 1.0])
    observation = cast(Observation, SimpleNamespace(broadcast=broadcast, upload=upload))
    first, second = layer_leakage(gradient, observation, layout)
    # 3 of 3 + 4 + 5; the server sees (0.3, 0, 0), and (3, 4, 5) has length sqrt(50).
    assert first["name"] == "a" and first["mass_shown"] == pytest.approx(0.25)
    assert first["cosine"] == pytest.approx(3 / 50**0.5)
    assert second == {"name": "b", "mass_shown": None, "cosine": None}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "layers.jsonl").read_text().splitlines()]


def test_an_undefended_step_shows_every_layer_and_a_defence_hides_its_share(tmp_path: Path) -> None:
    path = tmp_path / "layers.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    bare = run_scenario(read_scenario(path), tmp_path / "bare")
    found = lines(bare)
    assert [line["round"] for line in found] == [0, 0, 1, 1] and len({line["key"] for line in found}) == 4
    for line in found:
        for layer in line["layers"]:
            # One step of plain SGD sends lr * gradient, up to the rounding of float32 weights.
            assert layer["mass_shown"] == pytest.approx(1.0, abs=1e-3) and layer["cosine"] == pytest.approx(
                1.0, abs=1e-3
            )
    hidden = run_scenario(read_scenario(path, ["defenses=[{name: largest, rate: 0.3}]"]), tmp_path / "hidden")
    for line in lines(hidden):
        assert max(layer["cosine"] for layer in line["layers"] if layer["cosine"] is not None) < 0.6
    rows = layer_rows(read_run(hidden))
    assert [row.cosine for row in rows] == sorted((row.cosine for row in rows), reverse=True)
    text = (hidden / "report.html").read_text()
    assert "Which layers leak" in text and rows[0].name in text
