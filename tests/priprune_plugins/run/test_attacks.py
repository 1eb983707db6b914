"""Attacks on a run's captures: identified, granted, interrupted, resumed, cached."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from priprune_plugins import PluginError, ScenarioError
from priprune_plugins.errors import Interrupted
from priprune_plugins.run import attack_run, control_cache, finish_attacks
from priprune_plugins.run.folder import append_line, mend_lines, read_lines

Runner = Callable[..., Path]
ATTACKS = """
from dataclasses import dataclass, field
from pathlib import Path

import torch

from priprune_plugins import Reconstruction, ScenarioError, hookimpl


def guess(observation, value, **more):
    images = torch.full((observation.num_images, *observation.facts.image_shape), value)
    return Reconstruction(images, None, float(value), torch.zeros(1), **more)


@dataclass(frozen=True, eq=False)
class Noise:
    '''Draws for its whole chunk at once; counts its calls in a file, and stops when it says so.'''

    calls: str = ""
    shade: float = 0.0

    @hookimpl
    def reconstruct(self, observations, generator, progress):
        if self.calls:
            path = Path(self.calls)
            number = len(path.read_text()) if path.exists() else 0
            path.write_text("x" * (number + 1))
            if number == 2:
                raise KeyboardInterrupt
        progress(0.5, 0.25)
        return [guess(o, float(torch.rand((), generator=generator))) for o in observations]


@dataclass(frozen=True, eq=False)
class Watches:
    '''Remembers what it saw during training.'''

    @hookimpl
    def on_server_receive(self, server, upload):
        state = server.state(self)
        state["uploads"] = state.get("uploads", 0) + 1
        state["sum"] = state.get("sum", torch.zeros(())) + upload.weights.sum()

    @hookimpl
    def reconstruct(self, observations, state):
        notes = {"uploads": state["uploads"], "sum": float(state["sum"])}
        return [guess(o, 0.0, notes=notes) for o in observations]


@dataclass(frozen=True, eq=False)
class Peeks:
    '''Says what it was granted.'''

    oracle: bool = False
    labels: bool = False

    @hookimpl
    def reconstruct(self, observations):
        for o in observations:
            assert (o.start is not None) == self.oracle
            assert (o.labels is not None) == self.labels
        return [guess(o, 0.0, notes={
            "start_differs": float(o.start is not None and bool((o.start == 0).sum() != (o.broadcast == 0).sum())),
            "moved": float((o.broadcast - o.upload)[o.upload != 0].abs().mean()),
            "public": 0.0 if o.public is None else float(len(o.public)),
        }) for o in observations]


@dataclass(frozen=True, eq=False)
class Names:
    '''Scores every candidate alike.'''

    @hookimpl
    def identify(self, observations, candidates):
        return [torch.zeros(len(one)) for one in candidates]
"""


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(ATTACKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)


def lines(folder: Path, attack: str) -> list[dict[str, Any]]:
    return [line for line in read_lines(folder / "privacy.jsonl") if line["attack"] == attack]


def summary(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return read


def test_identification_ranks_the_true_image_and_is_judged_by_its_rank(run: Runner) -> None:
    folder = run("a", "attacks=[{name: mask_identification}, {name: gradient_identification}, {name: 'mine:Names'}]")
    for name in ("mask_identification", "gradient_identification"):
        (first, *_) = lines(folder, name)
        # 297 test digits and the true image.
        assert (first["rank"], first["candidates"], first["psnr_db"], first["failed"]) == (1.0, 298, None, None)
        figures = summary(folder)["attacks"][name]
        assert (figures["median_rank"], figures["top1_share"], figures["candidates"]) == (1, 1, 298)
        assert figures["positive_control"]["passed"]
    blind = summary(folder)["attacks"]["Names"]
    assert (blind["median_rank"], blind["top1_share"], blind["positive_control"]["passed"]) == (149.5, 0, False)
    assert list(summary(folder)["attacks"])[-1] == "Names"
    # The control of the mask attack withholds the largest .3, or there would be no mask.
    rates = [line["withheld_rate"] for line in lines(folder, "mask_identification") if line["group"] == "control"]
    assert rates == [pytest.approx(0.3, abs=1e-3)] * 3


def test_a_whole_batch_is_ranked_image_by_image(run: Runner) -> None:
    folder = run("a", "audit.batch_size=3", "privacy.candidates=20", "attacks=[{name: gradient_identification}]")
    victims = [line for line in lines(folder, "gradient_identification") if line["group"] == "audit"]
    assert {(line["batch_size"], line["candidates"]) for line in victims} == {(3, 20)}
    assert all(1 <= line["rank"] <= 20 for line in victims)


def test_truth_is_granted_where_it_is_declared_and_named_everywhere(run: Runner) -> None:
    pseudo = "defenses=[{name: largest, rate: 0.3, keep_local: true}]"
    attacks = "attacks=[{name: 'mine:Peeks'}, {name: 'mine:Peeks', oracle: true}, {name: 'mine:Peeks', labels: true}]"
    folder = run("a", pseudo, attacks, "audit.rounds=[1]", "algorithm.clients_per_round=12", "data.public=7")
    found = summary(folder)["attacks"]
    granted = {name: figures["granted"] for name, figures in found.items()}
    assert granted == {"Peeks": [], "Peeks-oracle": ["start"], "Peeks-true-labels": ["labels"]}
    # Pseudo-pruned clients start from their own old values: the oracle sees a smaller step from a truer start.
    plain, oracle = (
        [line["notes"] for line in lines(folder, name) if line["group"] == "audit"]
        for name in ("Peeks", "Peeks-oracle")
    )
    assert all(one["moved"] != other["moved"] for one, other in zip(plain, oracle, strict=True))
    assert {note["public"] for note in plain} == {7.0}
    captured = load_file(next((folder / "captures").glob("r*_c0*.safetensors")))
    assert set(captured) == {"upload"}
    assert "start" in load_file(next((folder / "audit").glob("r*_c0*.safetensors")))


def test_what_an_attack_remembered_at_the_server_reaches_it(run: Runner) -> None:
    folder = run("a", "attacks=[{name: 'mine:Watches'}]")
    notes = [line["notes"] for line in lines(folder, "Watches")]
    # Two rounds of four clients and two probes.
    assert {note["uploads"] for note in notes} == {2 * 4 + 2}
    assert all(note["sum"] != 0 for note in notes)
    assert summary(folder)["attacks"]["Watches"]["notes"]["uploads"] == 10
    (folder / "privacy.jsonl").unlink()
    assert attack_run(folder, "mine:Watches", {}) == "Watches"
    assert [line["notes"] for line in lines(folder, "Watches")] == notes


def test_an_attack_that_watches_cannot_come_afterwards(run: Runner) -> None:
    folder = run("a", "attacks=[]")
    with pytest.raises(ScenarioError, match="attack Watches watches the server during training and took no part"):
        attack_run(folder, "mine:Watches", {})


def test_an_interrupted_attack_goes_on_where_it_stopped_and_gives_the_same(run: Runner, tmp_path: Path) -> None:
    whole, folder = run("a", "attacks=[]", "privacy.chunk=1"), run("b", "attacks=[]", "privacy.chunk=1")
    attack_run(whole, "mine:Noise", {})
    with pytest.raises(Interrupted, match=r"uploads left: Noise has 3; to go on: priprune attack .*b$"):
        attack_run(folder, "mine:Noise", {"calls": str(tmp_path / "calls")})
    assert len(lines(folder, "Noise")) == 2
    assert summary(folder)["unfinished"] == {"Noise": 3}
    assert "Noise: 3 uploads are not attacked yet" in (folder / "report.html").read_text()
    with (folder / "privacy.jsonl").open("a") as file:
        file.write('{"attack": "Noise", "key": "r0')
    assert finish_attacks(folder) == ["Noise"]
    assert (folder / "privacy.jsonl").read_bytes() == (whole / "privacy.jsonl").read_bytes()
    assert summary(folder)["unfinished"] == {}
    assert finish_attacks(folder) == []


def test_a_chunk_is_handed_over_whole_and_only_missing_lines_are_written(run: Runner) -> None:
    folder = run("a", "attacks=[{name: 'mine:Noise'}]")
    before = lines(folder, "Noise")
    kept = "".join(json.dumps(line) + "\n" for line in before if line["key"] != before[1]["key"])
    (folder / "privacy.jsonl").write_text(kept)
    finish_attacks(folder)
    again = lines(folder, "Noise")
    assert sorted(map(str, again)) == sorted(map(str, before))


def test_a_half_line_is_left_out_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    append_line(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"a": 2')
    assert list(read_lines(path)) == [{"a": 1}]
    mend_lines(path)
    append_line(path, {"a": 3})
    assert list(read_lines(path)) == [{"a": 1}, {"a": 3}]


def test_controls_are_done_once_for_runs_that_share_a_cache(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(control_cache.VARIABLE, str(tmp_path / "cache"))
    counter = tmp_path / "calls"
    attacks = f"attacks=[{{name: 'mine:Noise', calls: {counter}}}]"
    first = run("a", attacks, "audit.rounds=[0]")
    assert len(counter.read_text()) == 2  # the probes and the controls
    counter.write_text("")
    # Round 0 is the same network for every defence.
    second = run("b", attacks, "audit.rounds=[0]", "defenses=[]")
    assert len(counter.read_text()) == 1
    own, other = ([x for x in lines(folder, "Noise") if x["group"] == "control"] for folder in (first, second))
    assert own == other


def test_floors_of_a_capture_are_computed_once(run: Runner) -> None:
    folder = run("a", "attacks=[{name: 'mine:Noise'}]")
    path = next((folder / "cache" / "floors").iterdir())
    found = json.loads(path.read_text())
    found["noise"]["psnr_db"] = -1.0
    path.write_text(json.dumps(found))
    attack_run(folder, "mine:Noise", {"shade": 1.0})
    assert -1.0 in [line["floors"]["noise"]["psnr_db"] for line in lines(folder, "Noise-2")]


def test_an_unknown_control_is_refused(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        ATTACKS.replace("class Names:", "class Odd:").replace(
            "    @hookimpl\n    def identify", "    control = 'easy'\n\n    @hookimpl\n    def identify"
        )
    )
    with pytest.raises(PluginError, match="attack Odd: control must be bare or largest, got 'easy'"):
        run("a", "attacks=[{name: 'odd:Odd'}]")


def test_going_on_without_any_attack_is_refused(run: Runner) -> None:
    folder = run("a", "attacks=[]")
    with pytest.raises(ScenarioError, match="has no attack to go on with: give --attack NAME"):
        finish_attacks(folder)


def test_controls_and_answers_survive_the_cache(tmp_path: Path) -> None:
    from priprune_plugins import Reconstruction

    raw = [
        control_cache.Raw(
            Reconstruction(torch.rand(1, 1, 2, 2), None, float("inf"), torch.zeros(0), "no luck", {"a": 1.5}), None
        ),
        control_cache.Raw(None, torch.tensor([0.25, 1.0])),
    ]
    control_cache.write_control(tmp_path, "name", raw)
    read = control_cache.read_control(tmp_path, "name", 2, torch.device("cpu"))
    assert read is not None and read[0].guess is not None and raw[0].guess is not None
    assert torch.equal(read[0].guess.images, raw[0].guess.images)
    assert (read[0].guess.loss, read[0].guess.failed, read[0].guess.notes) == (float("inf"), "no luck", {"a": 1.5})
    assert read[1].guess is None and torch.equal(read[1].scores, raw[1].scores)  # type: ignore[arg-type]
    assert control_cache.read_control(tmp_path, "name", 3, torch.device("cpu")) is None
