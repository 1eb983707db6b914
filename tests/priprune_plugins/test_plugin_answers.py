"""What an attack must answer, and what it is given to answer from."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from priprune_plugins import PluginError, hookimpl
from priprune_plugins.messages import Facts, LabelledSet, Reconstruction
from priprune_plugins.plugins import PluginHost, Registered


def entry(plugin: object, name: str) -> Registered:
    return Registered("attacks", name, f"attacks:{name}", plugin)


class Reconstructing:
    @hookimpl
    def reconstruct(self, observations: Any) -> list[Reconstruction]:
        return []


def test_an_attack_must_answer_once_for_every_upload(facts: Facts) -> None:
    observation = SimpleNamespace(facts=facts)
    attack = entry(Reconstructing(), "lazy")
    with pytest.raises(PluginError, match="attack lazy must return one reconstruction for each of 1 uploads"):
        PluginHost([attack]).reconstruct(
            attack.plugin,
            [observation],
            torch.Generator(),
            lambda share: None,  # type: ignore[list-item]
        )


def test_reconstruct_hands_over_a_copy_of_what_the_attack_remembered(facts: Facts) -> None:
    remembered = {"seen": [1]}

    class Remembering:
        @hookimpl
        def reconstruct(self, observations: Any, state: Any) -> list[Reconstruction]:
            state["seen"].append(2)
            return []

    attack = entry(Remembering(), "p")
    PluginHost([attack]).reconstruct(attack.plugin, [], torch.Generator(), lambda share, loss=None: None, remembered)
    assert remembered == {"seen": [1]}


def identifying(answer: Any) -> Registered:
    class Identifying:
        @hookimpl
        def identify(self, candidates: Any) -> Any:
            return answer

    return entry(Identifying(), "who")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], "attack who must return a list of scores for each of 1 uploads, got 0 of them"),
        ([torch.zeros(2)], r"must return scores \[3\], one per candidate, got \[2\]"),
        ([[0.0, 1.0, 2.0]], r"must return scores \[3\], one per candidate, got list"),
        (torch.zeros(1, 3), "must return a list of scores for each of 1 uploads, got Tensor"),
    ],
)
def test_identify_must_score_every_candidate(answer: Any, message: str) -> None:
    attack = identifying(answer)
    offered = [LabelledSet(torch.zeros(3, 1, 1, 2), torch.zeros(3, dtype=torch.long))]
    with pytest.raises(PluginError, match=message):
        PluginHost([attack]).identify(attack.plugin, [], offered, torch.Generator(), lambda share, loss=None: None)
