"""Whole runs under secure aggregation: what is captured and attacked, what the record promises, and a resume."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("Crypto.Protocol.DH", reason="the extra [secagg] is not installed")

from priprune_plugins import ScenarioError
from priprune_plugins.errors import Interrupted
from priprune_plugins.run import Watcher, run_scenario
from priprune_plugins.scenario import read_scenario

TINY = """
name: tiny
seed: 3
device: cpu
rounds: 4
data: {name: digits, size: 14, train: 160, test: 40, clients: 8, partition: dirichlet}
model: {name: mlp, hidden: [16]}
algorithm: {name: fedavg, clients_per_round: 4, batch_size: 12, lr: 0.1}
pruner: {name: random, rate: 0.3}
defenses: [{name: random_withhold, rate: 0.1}, {name: secagg, group: 2}]
attacks:
  - {name: sgi, iterations: 2, starts: [uniform], tv: [0.0001]}
  - {name: analytic, iterations: 2}
  - {name: gradient_identification}
audit: {batch_size: 1, victims: 4, rounds: [1]}
privacy: {candidates: 20, control_images: 1}
checkpoint: {every: 2}
"""
Go = Callable[..., Path]


@pytest.fixture
def go(tmp_path: Path) -> Go:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")

    def run(out: str, *overrides: str, watcher: Watcher | None = None, resume: bool = False) -> Path:
        return run_scenario(read_scenario(path, overrides), tmp_path / out, watcher, resume=resume)

    return run


def lines(folder: Path, name: str = "privacy.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def truth(folder: Path, key: str) -> dict[str, torch.Tensor]:
    return load_file(folder / "audit" / f"{key}.safetensors")


def test_attackers_get_sums_only_and_attack_them_as_larger_batches(go: Go) -> None:
    folder = go("a")
    attacked = [line for line in lines(folder) if line["group"] == "audit"]
    assert {line["attack"] for line in attacked} == {"sgi", "analytic", "gradient_identification"}
    for line in attacked:
        assert len(line["client"]) == 2 and line["batch_size"] == 2
        # A single layer's 16 features need not tell two images apart, and the attack then says so.
        assert line["failed"] is None or line["attack"] == "analytic"
        assert len(truth(folder, line["key"])["labels"]) == 2
    keys = {line["key"] for line in attacked}
    assert len(keys) == 2 and all(key.endswith("_and1") for key in keys)
    # Everything that lies in captures/ beside the server's own side and the controls is a group's.
    other = {path.stem for path in (folder / "captures").glob("r*_*")} - keys
    assert other and all("control" in stem for stem in other)
    pictures = load_file(folder / "reconstructions" / "sgi" / f"{min(keys)}.safetensors")["images"]
    assert pictures.shape == (2, 1, 14, 14)


def test_a_captured_sum_is_the_mean_of_the_probes_without_secagg(go: Go) -> None:
    options = ("attacks=[]", "data.partition=iid", "aggregation.weighting=uniform")
    summed = go("a", *options)
    single = go("b", "defenses=[{name: random_withhold, rate: 0.1}]", *options, "rounds=2")
    first = [load_file(path)["upload"] for path in sorted((single / "captures").glob("r000001_c0*"))]
    broadcast = load_file(summed / "captures" / "r000001.safetensors")
    server = broadcast["server_weights"] * broadcast["mask"]
    filled = [torch.where((upload == 0) & (server != 0), server, upload) for upload in first]
    groups = [load_file(path)["upload"] for path in sorted((summed / "captures").glob("r000001_c0*"))]
    assert len(filled) == 4 and len(groups) == 2
    for group, pair in zip(groups, (filled[:2], filled[2:]), strict=True):
        torch.testing.assert_close(group, (pair[0] + pair[1]) / 2, rtol=0, atol=1e-6)
        assert not torch.equal(group, pair[0]) and not torch.equal(group, pair[1])


def test_the_trainings_own_sums_are_attacked_where_no_probes_are_made(go: Go) -> None:
    sgi = "attacks=[{name: sgi, iterations: 2, starts: [uniform], tv: [0.0001]}]"
    folder = go("a", "audit=null", "capture={rounds: [0], clients: 1}", "algorithm.local_steps=2", sgi)
    attacked = [line for line in lines(folder) if line["group"] == "training"]
    assert {line["key"] for line in attacked} == {attacked[0]["key"]} and len(attacked[0]["client"]) == 2
    # Images of two clients in two steps of at most 12, of whom some have fewer: the truth's own number.
    images = len(truth(folder, attacked[0]["key"])["labels"])
    assert {line["batch_size"] for line in attacked} == {images} and 2 < images <= 48
    assert all(line["failed"] is None for line in attacked)


def test_probes_and_attacks_change_no_bit_of_the_training_and_the_control_is_a_single_bare_client(go: Go) -> None:
    attacked, bare = go("a"), go("b", "attacks=[]", "audit=null")
    assert (attacked / "rounds.jsonl").read_bytes() == (bare / "rounds.jsonl").read_bytes()
    controls = [line for line in lines(attacked) if line["group"] == "control"]
    assert controls and all(isinstance(line["client"], int) and line["batch_size"] == 1 for line in controls)


def test_the_record_counts_clients_and_the_rings_bytes(go: Go) -> None:
    folder = go("a", "attacks=[]", "audit=null")
    parameters = json.loads((folder / "summary.json").read_text())["parameters"]
    for line in lines(folder, "rounds.jsonl"):
        assert (line["dropped"], len(line["clients"])) == (0, 4)
        # 0.7 of the weights and every bias, and one number more that tells the samples.
        kept = parameters - round(0.3 * (196 * 16 + 16 * 10))
        assert line["bytes_up"] == 4 * 8 * (kept + 1)
        assert line["withheld_rate"] == pytest.approx(0.1, abs=1e-3)


def test_a_client_that_vanishes_is_counted_as_dropped(go: Go) -> None:
    folder = go("a", "attacks=[]", "audit=null", "defenses=[{name: secagg, dropout: 0.4, threshold: 0.5}]")
    assert sum(line["dropped"] for line in lines(folder, "rounds.jsonl")) > 0


class KilledAfter(Watcher):
    """Asks the run to stop after a round."""

    def __init__(self, round_idx: int) -> None:
        self.round_idx = round_idx

    def round_done(self, record: Mapping[str, Any]) -> None:
        if record["round"] == self.round_idx:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_resumed_run_ends_with_the_bytes_of_one_that_was_not_stopped(go: Go) -> None:
    options = ("attacks=[]", "audit=null", "algorithm.name=scaffold", "defenses[1].dropout=0.2")
    whole = go("a", *options)
    with pytest.raises(Interrupted):
        go("b", *options, watcher=KilledAfter(1))
    again = go("b", *options, resume=True)
    for name in ("rounds.jsonl", "checkpoint/trained/state.safetensors"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()


def test_an_audit_of_one_victim_is_refused(go: Go) -> None:
    with pytest.raises(ScenarioError, match=r"audit\.victims must be at least 2 where the server sees sums only"):
        go("a", "audit.victims=1")


def test_dp_behind_which_uploads_are_summed_has_a_central_epsilon(go: Go) -> None:
    pytest.importorskip("dp_accounting", reason="the extra [dp] is not installed")
    from priprune_defenses.accounting import epsilon

    plain = "defenses=[{name: dp, noise: 2.0}]"
    options = ("attacks=[]", "audit=null", "rounds=2")
    summed = lines(go("a", plain.replace("}]", "}, {name: secagg}]"), *options), "rounds.jsonl")[-1]
    single = lines(go("b", plain, *options), "rounds.jsonl")[-1]
    assert summed["dp"]["epsilon_central"] == pytest.approx(epsilon(2.0, 1e-5, 2, sampled=4 / 8))
    assert summed["dp"]["epsilon_server"] == pytest.approx(single["dp"]["epsilon_server"])
    assert single["dp"]["epsilon_central"] is None
