"""A whole run of each algorithm of ours with pruner, defence and attacks: what is attacked is what was sent."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from priprune_plugins.errors import Interrupted
from priprune_plugins.run import Watcher, run_scenario
from priprune_plugins.scenario import read_scenario

SCENARIO = """\
rounds: 3
seed: 2
device: cpu
data: {{name: digits, size: 14, train: 240, test: 60, clients: 6, partition: iid}}
model: {{name: mlp, hidden: [24]}}
algorithm: {{name: {algorithm}, clients_per_round: 4, batch_size: 10, local_steps: 2}}
pruner: {{name: magnitude, rate: 0.3}}
defenses: [{{name: {defense}}}]
attacks: [{{name: analytic, iterations: 40}}]
audit: {{batch_size: 1, victims: 4, rounds: [2], local_steps: 1}}
evaluation: {{clients: 6, every: 1}}
checkpoint: {{every: 1}}
"""
ALGORITHMS = {"ditto": "", "fedasync": ", max_delay: 2", "feddyn": "", "ifca": ", clusters: 3", "qfedavg": ""}
Go = Callable[..., Path]


@pytest.fixture
def go(tmp_path: Path) -> Go:
    def start(algorithm: str, out: str, *overrides: str, defense: str = "largest, rate: 0.1", **more: Any) -> Path:
        path = tmp_path / "scenario.yaml"
        path.write_text(SCENARIO.format(algorithm=algorithm + ALGORITHMS[algorithm], defense=defense))
        return run_scenario(read_scenario(path, overrides), tmp_path / out, **more)

    return start


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_attack_s_positive_control_passes_and_it_answers_to_every_probe(go: Go, algorithm: str) -> None:
    folder = go(algorithm, "run")
    (attack,) = json.loads((folder / "summary.json").read_text())["attacks"].values()
    assert attack["positive_control"]["passed"], attack
    assert attack["positive_control"]["psnr_db"] > 40
    found = [line for line in lines(folder, "privacy.jsonl") if line["group"] == "audit"]
    assert len(found) == 4 and all(line["withheld_rate"] == pytest.approx(0.1, abs=0.01) for line in found)


def test_an_attacker_of_ifca_measures_each_upload_against_the_model_that_was_chosen(go: Go) -> None:
    folder = go("ifca", "run", "data.partition=dirichlet", "data.alpha=0.1", "audit.rounds=[0]")
    side = load_file(folder / "captures" / "r000000.safetensors")
    own = [load_file(path) for path in sorted((folder / "captures").glob("r000000_c0*.safetensors"))]
    assert len(own) == 4 and len({int(one["extras.cluster"]) for one in own}) > 1
    off_others = float((own[0]["upload"] - own[0]["upload"].roll(1)).abs().mean())
    for one in own:
        sent = side["mask"] & (one["upload"] != 0)
        # One step of lr 0.1 is small against the distance of two models that were drawn apart.
        assert float((one["upload"] - one["server_weights"])[sent].abs().mean()) < 0.1 * off_others
    away = [one for one in own if not torch.equal(one["server_weights"], side["server_weights"])]
    assert away


class Stop(Watcher):
    """Interrupts after a round."""

    def round_done(self, record: Any) -> None:
        if record["round"] == 1:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_that_was_stopped_and_resumed_leaves_the_same_bytes(go: Go, algorithm: str) -> None:
    torch.manual_seed(0)
    defense = "priprune, alpha_init: 0.5"
    whole = go(algorithm, "whole", defense=defense)
    with pytest.raises(Interrupted):
        go(algorithm, "stopped", defense=defense, watcher=Stop())
    torch.manual_seed(1)
    stopped = go(algorithm, "stopped", defense=defense, resume=True)
    for name in ("rounds.jsonl", "privacy.jsonl", "checkpoint/trained/state.safetensors"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes(), name
