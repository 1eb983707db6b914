"""A whole run leaves the folder that the README describes, and its figures depend on nothing but the scenario."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from priprune_plugins import PluginError, ScenarioError
from priprune_plugins.run import attack_run

Runner = Callable[..., Path]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def summary(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return read


def test_a_run_leaves_every_file_and_every_figure(run: Runner) -> None:
    folder = run("a")
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "scenario.yaml", "environment.json", "rounds.jsonl", "timing.jsonl", "privacy.jsonl", "summary.json",
        "report.html", "captures", "audit", "reconstructions",
    }  # fmt: skip
    figures = summary(folder)
    assert {
        "accuracy", "rounds", "clients", "parameters", "density", "withheld_rate", "gradient_mass_withheld", "seconds",
    } <= figures.keys()  # fmt: skip
    assert figures["rounds"] == 2
    assert figures["density"] == pytest.approx(0.7, abs=1e-4)
    assert figures["withheld_rate"] == pytest.approx(0.1, abs=1e-4)
    assert 0.1 < figures["gradient_mass_withheld"] <= 1
    for name in ("sgi", "gi"):
        assert {
            "victims", "failed", "attack_loss", "nmi", "nmi_levels", "psnr_db", "ssim", "mse", "label_accuracy",
            "floors", "positive_control",
        } <= figures["attacks"][name].keys()  # fmt: skip
        assert figures["attacks"][name]["victims"] == 2
    groups = [line["group"] for line in lines(folder / "privacy.jsonl") if line["attack"] == "sgi"]
    assert sorted(groups) == ["audit", "audit", "control", "control", "control"]
    pictures = list((folder / "reconstructions" / "sgi").glob("*.png"))
    assert len(pictures) == 5


def test_the_same_scenario_gives_the_same_bytes_twice(run: Runner) -> None:
    first, second = run("a"), run("b")
    for name in ("rounds.jsonl", "privacy.jsonl", "scenario.yaml"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_switching_attacks_and_probes_off_changes_no_bit_of_the_training(run: Runner) -> None:
    attacked = run("a")
    bare = run("b", "attacks=[]", "audit=null")
    assert (attacked / "rounds.jsonl").read_bytes() == (bare / "rounds.jsonl").read_bytes()
    assert not (bare / "captures").exists()


def test_without_an_audit_the_trainings_own_uploads_are_attacked(run: Runner) -> None:
    folder = run("a", "audit=null", "capture={rounds: [0], clients: 2}")
    found = [line for line in lines(folder / "privacy.jsonl") if line["attack"] == "gi" and line["group"] != "control"]
    assert [line["group"] for line in found] == ["training", "training"]
    assert {line["round"] for line in found} == {0}
    assert {line["batch_size"] for line in found} == {10}


def test_captures_hold_what_a_server_holds_and_the_truth_lies_apart(run: Runner) -> None:
    folder = run("a", "attacks=[]")
    captured = load_file(next((folder / "captures").glob("r*_c0*.safetensors")))
    assert set(captured) == {"upload"}
    side = load_file(folder / "captures" / "r000001.safetensors")
    assert set(side) == {"server_weights", "mask"}
    # A withheld coordinate shows as exactly 0, like a pruned one: the attacker has to tell them apart.
    zeros = float((captured["upload"] == 0).float().mean())
    assert zeros > 0.3
    assert (captured["upload"][~side["mask"]] == 0).all()


def test_masks_and_extras_stand_in_the_record_and_the_setup_round_in_the_summary(run: Runner) -> None:
    scores = "pruner={name: snip, source: clients, rate: 0.4, dense_last: true}"
    folder = run("a", "attacks=[]", "audit=null", scores, "algorithm.name=scaffold", "defenses=[]")
    first, second = lines(folder / "rounds.jsonl")
    figures = summary(folder)
    assert figures["prunable_layers"][-1].endswith("weight")
    assert len(first["layer_density"]) == len(figures["prunable_layers"])
    assert first["layer_density"][-1] == 1.0 > first["layer_density"][-2]
    assert first["mask_change"] == pytest.approx(1 - first["density"])
    assert (second["mask_change"], second["layer_density"]) == (0.0, first["layer_density"])
    assert set(first["extras"]) == {"dc"}
    assert 0 < first["extras"]["dc"] < first["bytes_up"]
    assert set(figures["setup_extras"]) == {"snip_scores"}
    assert figures["setup_bytes_up"] == figures["setup_extras"]["snip_scores"] <= 4 * 4 * figures["parameters"]
    assert figures["setup_bytes_down"] == 2 * 4 * 4 * figures["parameters"]  # SCAFFOLD sends its variate too


def test_a_layer_that_died_is_named_once(run: Runner) -> None:
    # round(0.9999 * 200) removes all 200 weights of the first convolution.
    dead = "pruner={name: magnitude, scope: layer, rate: 0.9999}"
    folder = run("a", "attacks=[]", "audit=null", dead, "defenses=[]")
    name = summary(folder)["prunable_layers"][0]
    assert sum(f"layer {name} has no weight left from round 0 on" in text for text in summary(folder)["warnings"]) == 1


def test_a_second_run_into_the_same_folder_is_refused(run: Runner) -> None:
    folder = run("a", "attacks=[]", "audit=null")
    before = (folder / "rounds.jsonl").read_bytes()
    with pytest.raises(ScenarioError, match="exists already: give another --out"):
        run("a")
    assert (folder / "rounds.jsonl").read_bytes() == before


def test_another_attack_on_a_finished_run_uses_the_same_captures(run: Runner) -> None:
    folder = run("a", "attacks=[]")
    options = {"iterations": 3, "starts": ["uniform"], "tv": [0.001]}
    assert attack_run(folder, "gi", options) == "gi"
    assert summary(folder)["attacks"]["gi"]["victims"] == 2
    count = len(lines(folder / "privacy.jsonl"))
    assert attack_run(folder, "gi", options) == "gi"
    assert len(lines(folder / "privacy.jsonl")) == count
    assert attack_run(folder, "gi", {**options, "iterations": 5}) == "gi-2"
    assert set(summary(folder)["attacks"]) == {"gi", "gi-2"}


def test_an_attack_after_the_run_gives_what_it_gives_within_it(run: Runner) -> None:
    within, after = run("a"), run("b", "attacks=[]")
    for name in ("sgi", "gi"):
        attack_run(after, name, {"iterations": 4, "starts": ["uniform"], "tv": [0.0001]})
    assert (within / "privacy.jsonl").read_bytes() == (after / "privacy.jsonl").read_bytes()


PLUGIN = """
from dataclasses import dataclass
from priprune_plugins import hookimpl

@dataclass(frozen=True, eq=False)
class FailsInRoundOne:
    @hookimpl
    def on_round_start(self, server):
        if server.round_idx == 1:
            raise RuntimeError("out of luck")
"""


def test_a_plugin_that_fails_is_named_and_what_was_computed_stays(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "unlucky.py").write_text(PLUGIN)
    with pytest.raises(PluginError, match="FailsInRoundOne failed in on_round_start: RuntimeError: out of luck"):
        run("a", "pruner={name: 'unlucky:FailsInRoundOne'}")
    assert [line["round"] for line in lines(tmp_path / "a" / "rounds.jsonl")] == [0]


def test_more_clients_a_round_than_clients_is_the_users_mistake(run: Runner) -> None:
    with pytest.raises(ScenarioError, match="clients_per_round"):
        run("a", "algorithm.clients_per_round=13")


def test_attacking_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="is no run folder"):
        attack_run(tmp_path, "gi", {})


def test_the_positive_control_is_the_same_net_unpruned_and_undefended(run: Runner) -> None:
    folder = run("a", "attacks=[]")
    control = load_file(folder / "captures" / "r000001_control0.safetensors")["upload"]
    side = load_file(folder / "captures" / "r000001.safetensors")
    broadcast = side["server_weights"].masked_fill(~side["mask"], 0.0)
    moved = control != broadcast
    # Nothing is pruned or withheld: coordinates that the run prunes move like all others.
    assert moved[~side["mask"]].float().mean() > 0.05
    assert torch.isfinite(control).all()


def test_a_defence_that_forgets_to_return_is_warned_about(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "forgetful.py").write_text(
        "from dataclasses import dataclass\n"
        "import torch\n"
        "from priprune_plugins import hookimpl\n"
        "@dataclass(frozen=True, eq=False)\n"
        "class Forgets:\n"
        "    @hookimpl\n"
        "    def before_upload(self, upload):\n"
        "        upload.withhold(torch.ones(upload.weights.numel(), dtype=torch.bool))\n"
    )
    folder = run("a", "defenses=[{name: 'forgetful:Forgets'}]", "attacks=[]", "audit=null")
    assert any("withheld no coordinate in any round" in warning for warning in summary(folder)["warnings"])


def test_a_diverged_model_is_warned_about(run: Runner) -> None:
    folder = run("a", "algorithm.lr=1000000", "attacks=[]", "audit=null", "defenses=[]", "rounds=6")
    assert any("diverged" in warning or "dropped" in warning for warning in summary(folder)["warnings"])


def test_more_victims_than_clients_is_refused(run: Runner) -> None:
    with pytest.raises(ScenarioError, match=r"audit\.victims must be at most data\.clients \(12\), got 99"):
        run("a", "audit.victims=99")


def test_captures_stop_at_their_size_the_servers_side_included(run: Runner) -> None:
    folder = run("a", "attacks=[]", "capture.max_gib=0.000001")
    assert not list(folder.glob("captures/*"))
    assert any("max_gib" in warning for warning in summary(folder)["warnings"])


def test_each_attacked_upload_says_what_was_withheld_from_it(run: Runner) -> None:
    folder = run("a")
    rates = {line["group"]: line["withheld_rate"] for line in lines(folder / "privacy.jsonl")}
    assert rates["control"] == 0.0
    assert rates["audit"] == pytest.approx(0.1, abs=1e-3)


def test_an_unfinished_run_is_not_attacked(run: Runner) -> None:
    folder = run("a", "attacks=[]")
    (folder / "summary.json").unlink()
    with pytest.raises(ScenarioError, match="is an unfinished run"):
        attack_run(folder, "gi", {})
