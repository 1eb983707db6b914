"""What release tells of each round."""

import pytest
import torch

from priprune_defenses.release import Release
from priprune_defenses.release_record import mixing
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.testing.federation import play


def test_the_record_tells_rate_mixing_and_the_poorest_client() -> None:
    plugin = Release(gap=1, hazard=1.0)
    host = PluginHost([Registered("defenses", "release", "defenses[0]:release", plugin)])
    played = play(host.registered, rounds=4)
    entry: dict[str, object] = {}
    plugin.on_round_end(played.server, entry)
    assert entry["release"]["poorest_client"] == pytest.approx(
        min(sent.upload.num_samples for sent in played.sent) / 16
    )
    assert 0 < entry["release"]["rate"] < 1
    assert 2 == entry["release"]["mixed_min"] <= entry["release"]["mixed_mean"]


def test_the_figures_of_mixing_are_those_of_the_coordinates_that_are_sent() -> None:
    age = torch.tensor([0, 3, 126, 1, 5], dtype=torch.int8)
    release = torch.tensor([False, True, True, False, True])
    mask = torch.tensor([False, True, True, True, True])
    assert mixing(age, release, mask).tolist() == [4, 3, 4 + 127 + 6, 4]
    assert mixing(age, release, None).tolist() == [5, 3, 137, 4]
    assert mixing(age, torch.zeros(5).bool(), mask).tolist() == [4, 0, 0, 0]


def test_figures_of_mixing_stay_exact_over_many_coordinates() -> None:
    age = torch.full((400_001,), 126, dtype=torch.int8)
    age[-1] = 0
    assert mixing(age, torch.ones(400_001).bool(), None).tolist() == [400_001, 400_001, 127 * 400_000 + 1, 1]
