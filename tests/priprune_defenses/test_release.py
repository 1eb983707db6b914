from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
from torch import nn

from priprune_defenses.release import Release
from priprune_plugins import hookimpl
from priprune_plugins.messages import Client, Upload
from priprune_plugins.plugins import Registered
from priprune_plugins.testing.federation import play
from priprune_plugins.testing.stand_ins import OneMask

PLAIN = partial(Release, dither=0.0, hide=False)


def participations(participation, plugin, count: int, size: int = 100, seed: int = 0, mask=None, num_steps: int = 1):
    """Let one client take part again and again; yield what it received, its steps' gradients and its upload."""
    world = participation(nn.Linear(size, 1, bias=False).double())
    draws = torch.Generator().manual_seed(seed)
    for round_idx in range(count):
        received = torch.randn(size, generator=draws, dtype=torch.float64)
        if mask is not None:
            received[~mask] = 0.0
        gradients = [torch.randn(size, generator=draws, dtype=torch.float64) for _ in range(num_steps)]
        client = world.client(received, mask, round_idx=round_idx, num_steps=num_steps, num_samples=1000)
        yield received, gradients, world(plugin, client, gradients), world.states[0]


def test_when_a_coordinate_is_released_does_not_depend_on_the_data(participation) -> None:
    masks = [
        torch.stack([upload.shared for *_, upload, _ in participations(participation, PLAIN(), 12, seed=seed)])
        for seed in (1, 2)
    ]
    assert torch.equal(*masks) and masks[0].any()


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_nothing_is_sent_in_the_first_gap_participations(participation, gap: int) -> None:
    sent = [upload.shared.any() for *_, upload, _ in participations(participation, PLAIN(gap=gap), gap + 1)]
    assert not any(sent[:gap]) and sent[gap]


def test_during_the_warm_up_sums_leave_after_the_gap_of_their_time(participation) -> None:
    plugin = PLAIN(gap=3, hazard=1.0, warmup=8)
    sent = [bool(upload.shared.any()) for *_, upload, _ in participations(participation, plugin, 15)]
    assert [when for when, now in enumerate(sent) if now] == [1, 3, 6, 10, 14]


@pytest.mark.parametrize("num_steps", [1, 5])
@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("hide", [False, True])
def test_what_was_sent_and_what_is_held_add_up_to_all_updates(participation, num_steps, pruned: bool, hide) -> None:
    mask = torch.arange(100) % 3 != 0 if pruned else None
    kept = torch.ones(100, dtype=torch.bool) if mask is None else mask
    sent, updates = torch.zeros(100, dtype=torch.float64), torch.zeros(100, dtype=torch.float64)
    plugin = Release(gap=2, dither=0.0, hide=hide, warmup=num_steps)
    everything = participations(participation, plugin, 20, mask=mask, num_steps=num_steps)
    for received, gradients, upload, state in everything:
        leaving = kept if upload.shared is None else kept & upload.shared
        sent += (upload.weights - received).masked_fill(~leaving, 0.0)
        updates -= 0.1 * sum(gradients) * kept
        assert float((sent + state["residual"] - updates).abs().max()) < 1e-12


@pytest.mark.parametrize(("gap", "hazard"), [(3, 0.5), (1, 0.5), (1, 0.2)])
def test_the_rate_tends_to_that_of_the_cycle(participation, gap: int, hazard: float) -> None:
    shared = [u.shared.double().mean() for *_, u, _ in participations(participation, PLAIN(gap, hazard), 120, 2000)]
    assert float(1 - sum(shared[20:]) / 100) == pytest.approx(1 - 1 / (gap + 1 / hazard), abs=0.01)


@dataclass(frozen=True, eq=False)
class Nothing:
    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> None:
        """Leave the upload."""


@pytest.mark.parametrize("hide", [False, True])
def test_without_gap_chance_and_noise_a_run_is_bit_equal_to_one_without(hide: bool) -> None:
    runs = [
        play([Registered("defenses", "d", "defenses[0]:d", plugin)], rounds=3)
        for plugin in (Release(gap=0, hazard=1.0, dither=0.0, hide=hide), Nothing())
    ]
    assert torch.equal(runs[0].server.weights, runs[1].server.weights)
    assert all(torch.equal(a.upload.weights, b.upload.weights) for a, b in zip(runs[0].sent, runs[1].sent, strict=True))


def test_dither_on_what_holds_nothing_is_noise_around_the_broadcast(participation) -> None:
    # gap 1: nothing can leave in the first participation, so all of it is broadcast and noise.
    ((received, gradients, upload, _),) = participations(participation, Release(dither=2.0), 1, size=20_000)
    assert upload.shared is None
    noise = upload.weights - received
    rms = 0.1 * gradients[0].square().mean().sqrt()
    assert float(noise.std()) == pytest.approx(2.0 * float(rms), rel=0.03)
    assert abs(float(torch.corrcoef(torch.stack([noise, gradients[0]]))[0, 1])) < 4 / 20_000**0.5


def test_the_dither_does_not_touch_base_pruned_weights_nor_what_is_held(participation) -> None:
    mask = torch.arange(100) % 2 == 0
    (first,) = participations(participation, Release(), 1, mask=mask)
    (second,) = participations(participation, PLAIN(), 1, mask=mask)
    assert not first[2].weights[~mask].any()
    assert torch.equal(first[3]["residual"], second[3]["residual"])


def test_noise_and_release_are_drawn_from_different_streams(participation) -> None:
    plugin, size = Release(gap=0, hazard=0.5, hide=True), 20_000
    ((received, _, upload, state),) = participations(participation, plugin, 1, size=size)
    held = state["age"] == 1
    noise = (upload.weights - received)[held]
    assert abs(float(noise.mean())) < 4 * float(noise.std()) / held.sum() ** 0.5


def test_state_is_a_residual_and_a_byte_a_coordinate(participation) -> None:
    *_, (_, _, _, state) = participations(participation, Release(), 2)
    assert state["taken"] == 2
    assert {name: value.dtype for name, value in state.items() if name != "taken"} == {
        "residual": torch.float64,
        "age": torch.int8,
    }


def test_an_age_never_overflows(participation) -> None:
    *_, (_, _, _, state) = participations(participation, PLAIN(gap=0, hazard=1e-9), 140)
    assert set(state["age"].tolist()) == {126}


def test_a_pruned_coordinate_forgets_what_it_held(participation) -> None:
    world = participation(nn.Linear(4, 1, bias=False))
    for round_idx, mask in enumerate((None, torch.tensor([True, False, True, True]))):
        client = world.client(torch.zeros(4), mask, round_idx=round_idx)
        world(PLAIN(gap=3), client, [torch.ones(4)])
    assert world.states[0]["age"].tolist() == [2, 0, 2, 2]
    assert world.states[0]["residual"].tolist() == pytest.approx([-0.2, 0.0, -0.2, -0.2])


def test_an_upload_that_is_dropped_leaves_everything_held(participate) -> None:
    plugin, state = PLAIN(gap=0, hazard=1.0), participate.states.setdefault(0, {})
    state |= {"residual": torch.ones(6), "age": torch.ones(6, dtype=torch.int8)}
    client = participate.client(torch.zeros(6))
    extras = {"scale": torch.tensor(torch.inf)}
    plugin.before_upload(client, Upload((0,), 0, 20, torch.full((6,), 3.0), extras=extras))
    assert state["residual"].tolist() == [1.0] * 6 and state["age"].tolist() == [1] * 6
    upload = plugin.before_upload(client, Upload((0,), 0, 20, torch.full((6,), 3.0)))
    assert upload.weights.tolist() == [4.0] * 6
    assert not state["residual"].any() and not state["age"].any()


def test_what_an_earlier_defence_withheld_is_held(participate) -> None:
    plugin, client = PLAIN(gap=0, hazard=1.0), participate.client(torch.zeros(6))
    shared = torch.tensor([True, False, True, True, True, True])
    upload = plugin.before_upload(client, Upload((0,), 0, 20, torch.full((6,), 3.0), shared))
    assert torch.equal(upload.shared, shared)
    assert participate.states[0]["residual"].tolist() == [0.0, 3.0, 0.0, 0.0, 0.0, 0.0]


def test_extras_leave_as_means_over_as_many_participations_as_the_weights(participate) -> None:
    plugin, sent = PLAIN(gap=1, hazard=1.0), []
    for round_idx, value in enumerate((1.0, 5.0, 7.0)):
        client = participate.client(torch.zeros(6), round_idx=round_idx)
        squares = torch.tensor([value, 0, 0, 0, 2, 2])
        upload = Upload((0,), round_idx, 20, torch.ones(6), extras={"squares": squares, "tau": torch.ones(1)})
        sent.append(plugin.before_upload(client, upload))
    assert sent[0].extras["squares"].tolist() == [0.25] * 4 + [2.0, 2.0]  # layer means: nothing is mixed yet
    assert sent[1].extras["squares"].tolist() == [3.0, 0, 0, 0, 2, 2]
    assert sent[2].extras["squares"].tolist() == [1.75] * 4 + [2.0, 2.0]
    assert sent[1].extras["tau"].tolist() == [1.0]


@dataclass(frozen=True, eq=False)
class Updates:
    """Adds up each client's updates as they pass."""

    total: dict[int, torch.Tensor] = field(default_factory=dict)

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> None:
        """Add what is shared."""
        update = (upload.weights - client.received).double()
        update = update if upload.shared is None else update.masked_fill(~upload.shared, 0.0)
        self.total[client.client_id] = self.total.get(client.client_id, 0.0) + update


@dataclass(frozen=True, eq=False)
class Watched(Release):
    """Keeps each client's state in sight."""

    states: dict[int, dict[str, torch.Tensor]] = field(default_factory=dict)

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload | None:
        """Release as ever."""
        self.states[client.client_id] = client.state(self)
        return super().before_upload(client, upload)


@pytest.mark.parametrize("hide", [False, True])
def test_in_a_real_federation_nothing_is_lost_either(hide: bool) -> None:
    trained, left, plugin = Updates(), Updates(), Watched(gap=2, dither=0.0, hide=hide)
    play(
        [
            Registered("pruners", "mask", "pruner:mask", OneMask()),
            Registered("trackers", "trained", "trackers[0]:trained", trained),
            Registered("defenses", "release", "defenses[0]:release", plugin),
            Registered("trackers", "left", "trackers[1]:left", left),
        ],
        rounds=8,
    )
    for client_id, total in trained.total.items():
        assert (left.total[client_id] + plugin.states[client_id]["residual"] - total).abs().max() < 1e-6
