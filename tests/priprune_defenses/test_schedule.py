import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from priprune_defenses.largest import Largest
from priprune_defenses.mix import Mix
from priprune_defenses.random_withhold import RandomWithhold
from priprune_defenses.schedule import factor
from priprune_plugins import ScenarioError
from priprune_plugins.messages import Evaluation, Run


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("linear", [1, 0.85, 0.7, 0.55, 0.4]),
        ("cosine", [1, 0.912132, 0.7, 0.487868, 0.4]),
    ],
)
def test_the_factor_goes_from_one_to_the_last(schedule, expected: list[float]) -> None:
    assert [factor(schedule, t, 5, 0.4) for t in range(5)] == pytest.approx(expected, abs=1e-6)


def test_a_setup_round_and_a_run_of_one_round_count_as_the_first() -> None:
    assert factor("linear", -1, 5, 0.0) == factor("cosine", 0, 1, 0.0) == 1.0


def test_a_schedule_by_round_needs_the_number_of_rounds() -> None:
    with pytest.raises(ScenarioError, match="schedule: cosine needs the number of rounds"):
        factor("cosine", 0, None, 0.5)


@pytest.mark.parametrize(
    ("plugin", "counts"),
    [
        (Largest(rate=0.4, schedule="linear", last=2.0), [40, 60, 80]),
        (RandomWithhold(rate=0.4, schedule="cosine", last=0.0), [40, 20, 0]),
        (Mix(largest=0.1, random=0.3, schedule="linear", last=0.5), [40, 30, 20]),
    ],
)
def test_the_rate_withheld_follows_the_schedule(participation, plugin, counts: list[int]) -> None:
    world = participation(nn.Linear(100, 1, bias=False))
    world.facts = replace(world.facts, rounds=3)
    uploads = [world(plugin, world.client(torch.zeros(100), round_idx=t), [torch.arange(100.0) + 1]) for t in range(3)]
    assert [int((~upload.shared).sum()) for upload in uploads] == counts


def rates_played(participation, worth: float, accuracy_at: dict[int, float]) -> list[int]:
    """Play 200 participations where sharing more of 100 coordinates brings another accuracy."""
    world = participation(nn.Linear(100, 1, bias=False))
    plugin = RandomWithhold(rate=0.4, schedule="learned", arms=(0.5, 1.0, 2.0), worth=worth)
    withheld = []
    for round_idx in range(200):
        client = world.client(torch.zeros(100), round_idx=round_idx)
        # Broadcast 0, trained 1: what is evaluated shows how many coordinates are shared.
        client.weights.fill_(1.0)
        client._evaluate = lambda split, c=client: Evaluation(0.0, accuracy_at[100 - int(c.weights.sum())], 10)
        upload = world(plugin, client, [torch.zeros(100)])
        withheld.append(int((~upload.shared).sum()))
        assert client.weights.tolist() == [1.0] * 100
    return withheld


def test_a_learned_rate_finds_the_arm_that_keeps_accuracy(participation) -> None:
    played = rates_played(participation, 0.0, {20: 0.9, 40: 0.1, 80: 0.0})
    assert set(played) == {20, 40, 80}
    assert played[-100:].count(20) > 70


def test_what_withholding_is_worth_moves_the_learned_rate(participation) -> None:
    assert rates_played(participation, 1.0, dict.fromkeys((20, 40, 80), 0.9))[-100:].count(80) > 60


def test_learning_needs_validation_images() -> None:
    plugin = Largest(schedule="learned")
    run = Run(Path(), {"data": {"validation": 0.0}}, facts=None)
    with pytest.raises(ScenarioError, match=r"set data.validation above 0"):
        plugin.on_run_start(run)
    plugin.on_run_start(Run(Path(), {"data": {"validation": 0.1}}, facts=None))


def test_multiples_that_leave_nothing_to_share_are_refused() -> None:
    with pytest.raises(ScenarioError, match=r"learned reaches 1\.5 times the rate 0\.7"):
        Largest(rate=0.7, schedule="learned")
    with pytest.raises(ScenarioError, match=r"linear reaches 4 times the rate 0\.3"):
        Mix(schedule="linear", last=4.0)
    with pytest.raises(ScenarioError, match="arms must hold"):
        RandomWithhold(arms=())
    assert math.isclose(Mix(largest=0.5, random=0.4).whole_rate, 0.9)
