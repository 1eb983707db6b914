import logging
import math

import pytest
import torch
from torch import nn

from priprune_defenses.gumbel import logistic
from priprune_defenses.priprune import PriPrune
from priprune_defenses.streams import substream
from priprune_plugins import RunError, ScenarioError
from priprune_plugins.generators import generator
from priprune_plugins.messages import Upload

GRAD = torch.tensor([4.0, 1, 2, 1, 3, 1])  # Linear(2, 2): means 2 (weight) and 2 (bias)


def withheld(plugin, participate, **options) -> list[bool]:
    client = participate.client(torch.ones(6), **options)
    return (~participate(plugin, client, [GRAD]).shared).tolist()


def test_from_one_half_a_coordinate_is_withheld_iff_it_exceeds_theta_times_its_layers_mean(participation) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Linear(40, 30))
    world = participation(model)
    size = world.layout.num_parameters
    draws = torch.Generator().manual_seed(3)
    grad = torch.randn(size, generator=draws).exp() * torch.randn(size, generator=draws)
    mask = torch.rand(size, generator=draws) < 0.7
    for plugin in (PriPrune("paper", theta=0.66), PriPrune("adaptive", theta=0.66, alpha_init=0.5)):
        world.states.clear()
        upload = world(plugin, world.client(torch.ones(size), mask), [grad])
        for part in world.layout.slices:
            mean = grad[part][mask[part]].abs().mean()
            assert torch.equal(~upload.shared[part], mask[part] & (grad[part].abs() > 0.66 * mean))


@pytest.mark.parametrize(("lambda_sha", "expected"), [(0.3, [0, 4]), (0.1, [0, 1, 2, 3, 4, 5])])
def test_lambda_sha_acts_through_theta(participate, lambda_sha: float, expected: list[int]) -> None:
    # theta = N * lambda_sha / (2 * lambda_pri) = 1.2 or 0.4, with N = 6: |g| above 2.4 or 0.8.
    mask = withheld(PriPrune("paper", lambda_pri=0.75, lambda_sha=lambda_sha), participate)
    assert [position for position, value in enumerate(mask) if value] == expected


def test_theta_means_the_same_in_a_pruned_model(participate) -> None:
    mask = torch.tensor([True, False, True, False, True, False])  # means 3 and 3
    assert withheld(PriPrune("paper", theta=0.9), participate, mask=mask) == [True, False, False, False, True, False]


def test_alpha_of_exactly_one_half_is_shared(participate) -> None:
    client = participate.client(torch.ones(6))
    upload = participate(PriPrune("paper", theta=1.0), client, [torch.ones(6)])
    assert upload.shared.all()


def test_adaptive_starts_at_one_tenth_and_withholds_nothing_at_first(participate) -> None:
    plugin = PriPrune()
    client = participate.client(torch.ones(6))
    plugin.on_local_train_start(client)
    assert torch.allclose(client.state(plugin)["preference"].sigmoid(), torch.tensor(0.1))
    assert not any(withheld(plugin, participate))


def test_adaptive_step_is_the_same_at_every_model_size(participation) -> None:
    moved = []
    for width in (2, 50):
        world = participation(nn.Linear(width, width, bias=False))
        world(PriPrune(lambda_acc=0), world.client(torch.zeros(width**2)), [torch.ones(width**2)])
        moved.append(world.states[0]["preference"][0])
    # 1e3 / 109,470 * lambda_pri * (1 - alpha) * (|g| / mean - 2 * theta * alpha), alpha = 0.1
    expected = math.log(1 / 9) + 1e4 / 109_470 * 0.9 * (1 - 2 * 1.3 * 0.1)
    assert moved == [pytest.approx(expected, rel=1e-5)] * 2


def test_printed_penalty_withholds_every_nonzero_gradient_from_one_half(participate) -> None:
    client = participate.client(torch.ones(6))
    upload = participate(
        PriPrune("paper", theta=100, penalty="withheld"), client, [torch.tensor([0.0, 1e-3, 9, 0, 1, 0])]
    )
    assert upload.shared.tolist() == [True, False, False, True, False, True]


def test_composition_over_two_participations(participate) -> None:
    plugin = PriPrune("paper", theta=1.2, lambda_acc=0)
    assert withheld(plugin, participate) == [True, False, False, False, True, False]
    # It went to 1 - 0.1 * GRAD and keeps 0.6 and 0.7 at the positions 0 and 4.
    second = participate.client(torch.full((6,), 7.0), round_idx=1)
    participate(plugin, second, [torch.zeros(6)])
    assert second.start.tolist() == pytest.approx([0.6, 7, 7, 7, 0.7, 7])
    assert second.received.tolist() == [7.0] * 6


def test_a_base_pruned_coordinate_keeps_its_alpha_and_starts_from_the_broadcast_when_it_regrows(participate) -> None:
    plugin = PriPrune("paper", theta=1.2, lambda_acc=0)
    withheld(plugin, participate)
    before = participate.states[0]["preference"][0].item()
    pruned = torch.tensor([False, True, True, True, True, True])
    upload = participate(plugin, participate.client(torch.ones(6), pruned, round_idx=1), [GRAD])
    assert upload.shared[0] and participate.states[0]["preference"][0].item() == before > 0
    regrown = participate.client(torch.full((6,), 7.0), round_idx=2)
    plugin.on_local_train_start(regrown)
    assert regrown.weights[0] == 7 and regrown.weights[4] != 7


def test_the_accuracy_term_moves_alpha_towards_the_better_value(participate) -> None:
    # A positive gradient asks for smaller weights: where the own value is smaller alpha rises, where larger it falls.
    plugin = PriPrune(lambda_pri=1e-9, theta=1e-9, lambda_acc=1e-3, alpha_init=0.5)
    participate(plugin, participate.client(torch.zeros(6)), [torch.zeros(6)])
    broadcast = torch.tensor([1.0, 1, 1, -1, -1, -1])
    participate(plugin, participate.client(broadcast, round_idx=1), [torch.ones(6)])
    assert participate.states[0]["preference"].sign().tolist() == [1, 1, 1, -1, -1, -1]


def test_sampled_composition_follows_alpha_and_is_drawn_anew_each_epoch(participation) -> None:
    world = participation(nn.Linear(100, 100), batch_size=10)
    plugin = PriPrune(compose="sample", alpha_init=0.3, lambda_acc=0, alpha_lr=1e-12)
    world(plugin, world.client(torch.zeros(10_100)), [torch.zeros(10_100)])
    second = world.client(torch.ones(10_100), round_idx=1, num_steps=4, num_samples=20)  # 2 epochs of 2 steps
    seen = []
    world(plugin, second, lambda weights: seen.append(weights.clone()) or torch.full_like(weights, 0.5), num_steps=4)
    own = [step < 0.5 for step in seen]  # own values are 0, broadcast 1, a step takes 0.05
    assert abs(own[0].double().mean() - 0.3) < 0.03
    noises = [logistic(10_100, substream(generator(0, 1, 0), epoch), torch.device("cpu")) for epoch in (0, 1)]
    assert torch.equal(own[0], noises[0] < math.log(0.3 / 0.7))
    assert torch.equal(own[1], own[0]) and torch.equal(own[2], noises[1] < math.log(0.3 / 0.7))
    assert torch.allclose(seen[2], torch.where(own[2], -0.1, 0.9)), "the trained part is kept"
    assert "sampled" not in world.states[0]


def test_evaluation_uses_the_withheld_values(participate) -> None:
    plugin = PriPrune("paper", theta=1.2)
    withheld(plugin, participate)
    visitor = participate.client(torch.full((6,), 7.0), round_idx=9)
    plugin.on_client_evaluate(visitor)
    assert visitor.weights.tolist() == pytest.approx([0.6, 7, 7, 7, 0.7, 7])


def test_state_belongs_to_one_client_and_survives_as_tensors(participate) -> None:
    plugin = PriPrune("paper", theta=1.2)
    withheld(plugin, participate, client_id=1)
    other = participate.client(torch.zeros(6), client_id=2)
    plugin.on_local_train_start(other)
    assert not other.weights.any() and not participate.states[2]["preference"].any()
    assert {name: value.shape for name, value in participate.states[1].items()} == dict.fromkeys(
        ("preference", "own", "withheld"), torch.Size([6])
    )


@pytest.mark.parametrize("compose", ["previous", "sample"])
@pytest.mark.parametrize("mode", ["paper", "adaptive"])
def test_rounds_are_reproducible_and_leave_global_randomness_alone(participate, mode: str, compose: str) -> None:
    rng = torch.get_rng_state()
    ends = []
    for _ in range(2):
        participate.states.clear()
        plugin = PriPrune(mode, compose=compose)
        for round_idx in range(3):
            client = participate.client(torch.ones(6) * round_idx, round_idx=round_idx)
            upload = participate(plugin, client, [GRAD, GRAD / 2])
        ends.append((participate.states[0]["preference"], upload.shared))
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert torch.equal(torch.get_rng_state(), rng)


def test_the_upload_is_not_edited_and_an_earlier_defences_choice_stays(participate) -> None:
    plugin = PriPrune("paper", theta=1.2)
    client = participate.client(torch.ones(6))
    participate(plugin, client, [GRAD])
    upload = Upload((0,), 0, 20, torch.ones(6), shared=torch.tensor([True, False, True, True, True, True]))
    final = plugin.before_upload(client, upload)
    assert final.shared.tolist() == [False, False, True, True, False, True]
    assert upload.weights.tolist() == [1.0] * 6 and upload.shared.sum() == 5


def test_alpha_that_is_not_a_number_names_the_client(participate) -> None:
    client = participate.client(torch.ones(6), client_id=17, round_idx=4)
    plugin = PriPrune()
    plugin.on_local_train_start(client)
    client.state(plugin)["preference"][2] = torch.nan
    with pytest.raises(RunError, match="1 alphas of client 17 are not a number after round 4"):
        plugin.before_upload(client, Upload((17,), 4, 20, torch.ones(6)))


def test_alpha_that_is_not_a_number_starts_anew_where_asked_to(participate, caplog: pytest.LogCaptureFixture) -> None:
    client = participate.client(torch.ones(6), client_id=17, round_idx=4)
    plugin = PriPrune(nonfinite="reset")
    plugin.on_local_train_start(client)
    state = client.state(plugin)
    for bad in (torch.nan, torch.inf):
        state["preference"][2] = bad
        upload = plugin.before_upload(client, Upload((17,), 4, 20, torch.ones(6)))
        assert upload.shared.tolist() == [True, True, False, True, True, True]
    assert torch.equal(state["preference"], torch.full((6,), plugin._first_preference()))
    assert "2 so far" in caplog.text


def test_a_diverged_upload_is_left_to_the_hosts_policy(participate) -> None:
    client = participate.client(torch.ones(6))
    plugin = PriPrune()
    plugin.on_local_train_start(client)
    client.state(plugin)["preference"][2] = torch.nan
    assert plugin.before_upload(client, Upload((0,), 0, 20, torch.full((6,), torch.nan))) is None


def test_withholding_everything_warns(participate, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert all(withheld(PriPrune("paper", theta=0.1), participate))
    assert "client 0 withholds everything in round 0" in caplog.text


def test_a_setup_round_is_sent_whole_with_a_warning(participate, caplog: pytest.LogCaptureFixture) -> None:
    client = participate.client(torch.ones(6), round_idx=-1)
    assert PriPrune().before_upload(client, Upload((0,), -1, 20, torch.ones(6))) is None
    assert "alpha is not learned yet" in caplog.text


def test_options_that_contradict_are_refused() -> None:
    with pytest.raises(ScenarioError, match="theta or lambda_sha, not both"):
        PriPrune(theta=1.3, lambda_sha=2e-6)
    with pytest.raises(ScenarioError, match="alpha_init must be between 0 and 1, got 1"):
        PriPrune(alpha_init=1.0)
