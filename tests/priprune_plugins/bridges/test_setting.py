"""What a bridge refuses before anything is computed."""

from typing import Any

import pytest
from torch import nn

from priprune_plugins.bridges.state_dicts import copied_state
from priprune_plugins.errors import ScenarioError


@pytest.mark.parametrize(
    ("plugins", "message"),
    [
        ({"defences": []}, "unknown key 'defences'"),
        ({"pruner": "magnitude"}, "must be a mapping with a name"),
        ({"defenses": [{"name": "largest", "rat": 0.1}]}, "rat"),
        ({"defenses": [{"name": "secagg"}]}, "FedLab's pipeline only"),
    ],
)
def test_plugins_that_cannot_work_are_refused_by_name(plugins: Any, message: str, foreign: Any) -> None:
    with pytest.raises(ScenarioError, match=message):
        foreign.setting(plugins)


def test_a_framework_without_a_setup_round_refuses_plugins_that_need_one(foreign: Any) -> None:
    foreign.setting({"pruner": {"name": "prunefl", "initial": "magnitude"}}).refuse_setup("Flower")
    with pytest.raises(ScenarioError, match="prunefl needs a setup round before round 0, which Flower has not"):
        foreign.setting({"pruner": {"name": "prunefl"}}).refuse_setup("Flower")


def test_frozen_and_tied_parameters_are_refused() -> None:
    frozen = nn.Linear(2, 2)
    frozen.bias.requires_grad_(False)
    with pytest.raises(ScenarioError, match="bias is frozen"):
        copied_state(frozen)
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    with pytest.raises(ScenarioError, match=r"1\.weight is another name"):
        copied_state(tied)
