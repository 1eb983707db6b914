"""What holds for every fixed-rate defence."""

import pytest
import torch
from torch import nn

from priprune_defenses.fixed_rate import FixedRate
from priprune_defenses.largest import Largest
from priprune_defenses.mix import Mix
from priprune_defenses.random_withhold import RandomWithhold
from priprune_plugins.messages import Upload

PLUGINS = [Largest(rate=0.3), RandomWithhold(rate=0.3), Mix(largest=0.1, random=0.2)]
LAYERED = [Largest(rate=0.3, scope="layer"), RandomWithhold(rate=0.3, scope="layer")]
MODEL = nn.Sequential(nn.Linear(20, 10), nn.Linear(10, 5))  # layers of 200, 10, 50, 5


def trained(participation, plugin, mask=None, round_idx=0, client_id=0):
    world = participation(MODEL)
    draws = torch.Generator().manual_seed(client_id)
    received = torch.randn(265, generator=draws)
    client = world.client(received, mask, client_id, round_idx)
    return client, world(plugin, client, [torch.randn(265, generator=draws)])


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: type(p).__name__)
def test_global_rate_withholds_the_exact_count_of_kept_coordinates(participation, plugin: FixedRate) -> None:
    mask = torch.arange(265) % 5 != 0  # keeps 212
    _, upload = trained(participation, plugin, mask)
    expected = {Largest: 64, RandomWithhold: 64, Mix: 21 + 42}[type(plugin)]
    assert int((~upload.shared).sum()) == expected
    assert upload.shared[~mask].all()


@pytest.mark.parametrize("plugin", LAYERED, ids=lambda p: type(p).__name__)
def test_layer_rate_withholds_the_exact_count_of_each_layer(participation, plugin: FixedRate) -> None:
    client, upload = trained(participation, plugin)
    assert [int((~part).sum()) for part in client.layout.layers(upload.shared)] == [60, 3, 15, 2]  # 1.5 -> 2, to even


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: type(p).__name__)
def test_the_upload_is_not_edited_and_global_randomness_is_not_drawn(participation, plugin: FixedRate) -> None:
    client, _ = trained(participation, plugin)
    upload = Upload((0,), 0, 20, client.weights.clone())
    values, rng = upload.weights.clone(), torch.get_rng_state()
    plugin.before_upload(client, upload)
    assert torch.equal(upload.weights, values) and upload.shared is None
    assert torch.equal(torch.get_rng_state(), rng)


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: type(p).__name__)
def test_the_choice_is_the_same_for_the_same_client_and_round(participation, plugin: FixedRate) -> None:
    _, first = trained(participation, plugin)
    _, second = trained(participation, plugin)
    assert torch.equal(first.shared, second.shared)


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: type(p).__name__)
def test_rates_of_two_defences_add_up(participation, plugin: FixedRate) -> None:
    client, upload = trained(participation, RandomWithhold(rate=0.4), round_idx=1)
    both = plugin.before_upload(client, upload)
    added = {Largest: 80, RandomWithhold: 80, Mix: 26 + 53}[type(plugin)]
    assert int((~both.shared).sum()) == 106 + added
    assert not both.shared[~upload.shared].any()


def test_rate_zero_shares_everything(participation) -> None:
    _, upload = trained(participation, Largest(rate=0.0))
    assert upload.shared.all()


def test_pseudo_pruning_over_two_participations(participate) -> None:
    plugin = Largest(rate=1 / 3, keep_local=True)  # 2 of 6
    first = participate.client(torch.tensor([1.0, 2, 3, 4, 5, 6]))
    upload = participate(plugin, first, [torch.tensor([10.0, 0, 0, -20, 1, 0])])
    assert upload.shared.tolist() == [False, True, True, False, True, True]
    # The client went to [0, 2, 3, 6, 4.9, 6] and keeps 0 and 6 at the positions 0 and 3.
    second = participate.client(torch.full((6,), 7.0), round_idx=1)
    upload = participate(plugin, second, [torch.tensor([0.0, 5, 5, 0, 0, 0])])
    assert second.start.tolist() == [0.0, 7, 7, 6, 7, 7]
    # Ranked from the composed start: the stale values at 0 and 3 are no change.
    assert upload.shared.tolist() == [True, False, False, True, True, True]
    third = participate.client(torch.zeros(6), round_idx=2)
    plugin.on_local_train_start(third)
    assert third.weights.tolist() == [0.0, 6.5, 6.5, 0, 0, 0]


def test_real_pruning_starts_from_the_broadcast(participate) -> None:
    plugin = Largest(rate=1 / 3)
    participate(plugin, participate.client(torch.ones(6)), [torch.arange(6.0)])
    again = participate.client(torch.full((6,), 7.0), round_idx=1)
    plugin.on_local_train_start(again)
    assert again.weights.tolist() == [7.0] * 6


@pytest.mark.parametrize("plugin_type", [Largest, RandomWithhold, Mix])
def test_kept_values_belong_to_one_client(participate, plugin_type: type[FixedRate]) -> None:
    plugin = plugin_type(keep_local=True)
    participate(plugin, participate.client(torch.ones(6), client_id=1), [torch.ones(6)])
    other = participate.client(torch.zeros(6), client_id=2, round_idx=1)
    plugin.on_local_train_start(other)
    assert not other.weights.any()


def test_evaluation_uses_the_kept_values(participate) -> None:
    plugin = Largest(rate=1 / 6, keep_local=True)
    participate(plugin, participate.client(torch.zeros(6)), [torch.tensor([0.0, 0, 0, 0, 30, 0])])
    visitor = participate.client(torch.ones(6), round_idx=5)
    plugin.on_client_evaluate(visitor)
    assert visitor.weights.tolist() == [1.0, 1, 1, 1, -3, 1]


def test_diverged_weights_are_not_kept(participate) -> None:
    plugin = Largest(rate=1 / 3, keep_local=True)
    upload = participate(plugin, participate.client(torch.ones(6)), [torch.tensor([0.0, torch.nan, 1, 2, 3, 4])])
    assert not upload.shared[1], "what is not a number is withheld first"
    again = participate.client(torch.zeros(6), round_idx=1)
    plugin.on_local_train_start(again)
    assert not again.weights.any()


@pytest.mark.parametrize("plugin_type", [Largest, RandomWithhold, Mix])
def test_a_setup_round_leaves_nothing_to_compose(participate, plugin_type: type[FixedRate]) -> None:
    plugin = plugin_type(keep_local=True)
    client = participate.client(torch.ones(6), round_idx=-1)
    scores = {"scores": torch.arange(6.0)}
    assert plugin.before_upload(client, Upload((0,), -1, 20, torch.ones(6), extras=scores)) is not None
    assert not participate.states.get(0)
