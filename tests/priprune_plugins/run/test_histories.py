"""Victims that take part around an audited round: what they remember, what attacks are given, what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from priprune_plugins.errors import ScenarioError
from priprune_plugins.run.folder import read_lines
from priprune_plugins.run.observed import all_captures, neighbours
from priprune_plugins.scenario.sections import AuditSection

Runner = Callable[..., Path]
AROUND = ("rounds=7", "audit.rounds=[4]", "audit.earlier=2", "audit.later=1", "audit.spacing=2", "audit.victims=2")
HOLDING = "defenses=[{name: release, gap: 1, hazard: 1, dither: 0, hide: false}]"
LOOKS = """
from dataclasses import dataclass

import torch

from priprune_plugins import Reconstruction, hookimpl


@dataclass(frozen=True, eq=False)
class Looks:
    '''Says what it was given around each upload.'''

    labels: bool = False

    @hookimpl
    def reconstruct(self, observations):
        return [self._of(o) for o in observations]

    def _of(self, o):
        around = [*o.earlier, *o.later]
        notes = {"earlier": len(o.earlier), "later": len(o.later), "rounds": sum(one.round_idx for one in around)}
        notes["labels"] = sum(one.labels is not None for one in around)
        images = torch.zeros(o.num_images, *o.facts.image_shape)
        return Reconstruction(images, None, 0.0, torch.zeros(1), notes=notes)
"""


def upload(folder: Path, round_idx: int, client_id: int) -> torch.Tensor:
    return load_file(folder / "captures" / f"r{round_idx:06d}_c{client_id:05d}.safetensors")["upload"]


def test_only_the_audited_participation_is_attacked_and_it_is_given_the_others(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "looks.py").write_text(LOOKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = run("a", *AROUND, "attacks=[{name: 'looks:Looks'}, {name: 'looks:Looks', labels: true}]")
    lines = [line for line in read_lines(folder / "privacy.jsonl") if line["group"] == "audit"]
    assert [(line["round"], line["client"]) for line in lines] == [(4, 0), (4, 1)] * 2
    given = {"earlier": 2.0, "later": 1.0, "rounds": 0.0 + 2.0 + 6.0}
    assert [line["notes"] for line in lines] == [{**given, "labels": 0.0}] * 2 + [{**given, "labels": 3.0}] * 2
    controls = {line["round"] for line in read_lines(folder / "privacy.jsonl") if line["group"] == "control"}
    assert controls == {4}


def test_a_victims_memory_goes_on_from_participation_to_participation(run: Runner) -> None:
    folder = run("a", *AROUND, "attacks=[]", HOLDING)
    # gap 1, hazard 1: nothing leaves in the first participation, the sum of two in the second, and so on.
    sent = [bool(upload(folder, round_idx, 0).any()) for round_idx in (0, 2, 4, 6)]
    assert sent == [False, True, False, True]


def test_the_training_does_not_notice_and_spilled_memories_give_the_same_bits(run: Runner) -> None:
    bare, kept = run("a", "rounds=7", "attacks=[]", HOLDING), run("b", *AROUND, "attacks=[]", HOLDING)
    spilled = run("c", *AROUND, "attacks=[]", HOLDING, "states.max_gib=0")
    assert [line["test_loss"] for line in read_lines(bare / "rounds.jsonl")] == [
        line["test_loss"] for line in read_lines(kept / "rounds.jsonl")
    ]
    assert torch.equal(upload(kept, 6, 1), upload(spilled, 6, 1))


def test_a_client_of_one_image_sends_it_every_time(run: Runner) -> None:
    folder = run("a", *AROUND, "attacks=[]", "audit.images=1")
    images = [load_file(path)["images"] for path in sorted((folder / "audit").glob("*_c00001.safetensors"))]
    assert len(images) == 4 and all(torch.equal(image, images[0]) for image in images)


def test_each_audited_round_has_a_history_of_its_own(run: Runner) -> None:
    folder = run("a", "rounds=8", "audit.rounds=[2, 6]", "audit.earlier=1", "audit.spacing=2", "attacks=[]")
    everything = all_captures(folder / "captures")
    around = {
        capture.round_idx: [other.round_idx for other in neighbours(capture, everything)]
        for capture in everything
        if capture.group == "audit" and capture.client_ids == (0,)
    }
    assert around == {2: [0], 6: [4]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": None}, "audit.earlier and later need audit.rounds"),
        ({"rounds": [3]}, r"audit.rounds must leave 4 rounds before and 2 after for earlier and later, got 3 of 7"),
        ({"rounds": [5]}, "got 5 of 7"),
        ({"rounds": [4, 4], "later": 0}, None),
        ({"earlier": 1, "rounds": [2, 4]}, r"audit.rounds must lie more than 4 rounds apart .*, got \[2, 4\]"),
    ],
)
def test_histories_that_do_not_fit_are_refused(run: Runner, changes: dict[str, object], message: str | None) -> None:
    given = [f"audit.{name}={'null' if value is None else value}" for name, value in changes.items()]
    if message is None:
        run("a", *AROUND, "attacks=[]", *given)
        return
    with pytest.raises(ScenarioError, match=message):
        run("a", *AROUND, "attacks=[]", *given)


def test_by_default_a_probe_has_no_history() -> None:
    assert (AuditSection().earlier, AuditSection().later, AuditSection().images) == (0, 0, None)
