"""What the host does where the server sees sums only: what goes in and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from priprune_plugins import hookimpl
from priprune_plugins.messages import Client, Server, Upload
from priprune_plugins.plugins import Registered
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.pair import FedLabPair
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.summands import GroupSum, Summand

Build = Callable[..., Federation]
OneRound = Callable[[Federation, int], list[Sent]]


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums in the open: the arithmetic of secure aggregation without its masks."""

    size: int = 10
    lost: tuple[int, ...] = ()
    seen: list[Summand] = field(default_factory=list)

    @hookimpl
    def sum_uploads(self, summands: Any) -> list[GroupSum]:
        self.seen.extend(summands)
        groups = [summands[start : start + self.size] for start in range(0, len(summands), self.size)]
        return [self._sum([one for one in group if one.client_id not in self.lost]) for group in groups]

    def _sum(self, group: list[Summand]) -> GroupSum:
        vectors = {
            name: sum(one.vectors[name].double() * one.factors.get(name, 1.0) for one in group)
            for name in group[0].vectors
        }
        return GroupSum(tuple(one.client_id for one in group), vectors, item_bytes=8)


@dataclass(frozen=True, eq=False)
class Plugin:
    """Prunes, withholds and sends an extra of its own, by client."""

    mask: bool = False
    withhold: bool = False
    extra: bool = False
    received: list[Upload] = field(default_factory=list)

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        if self.mask:
            server.mask = torch.arange(server.layout.num_parameters) % 3 != 0

    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        if self.extra:
            client.send("scores", torch.full_like(client.weights, 1.0 + client.client_id))
            client.send("kept", torch.arange(client.weights.numel()) % 12 == client.client_id)

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload | None:
        # Coordinates 0 to 4 are withheld by all, 5 to 9 by the even clients.
        places = torch.arange(upload.weights.numel())
        withheld = (places < 5) | ((places < 10) & (client.client_id % 2 == 0))
        return upload.withhold(withheld) if self.withhold else None

    @hookimpl
    def on_server_receive(self, server: Server, upload: Upload) -> None:
        self.received.append(upload)


def plugins(sums: Sums | None, other: Plugin | None = None) -> tuple[Registered, ...]:
    behind = () if sums is None else (Registered("defenses", "sums", "defenses[0]:sums", sums),)
    before = () if other is None else (Registered("pruners", "p", "pruner:p", other),)
    return (*before, *behind)


@pytest.mark.parametrize("weighting", ["samples", "uniform"])
@pytest.mark.parametrize("size", [10, 5], ids=["one group", "two groups"])
def test_every_algorithm_ends_where_it_ends_without_sums(
    federation: Build, one_round: OneRound, algorithm: Algorithm, weighting: str, size: int
) -> None:
    def build(sums: Sums | None) -> Federation:
        other = Plugin(mask=True, withhold=True)
        return federation(algorithm=algorithm, plugins=plugins(sums, other), weighting=weighting)

    plain, summed = build(None), build(Sums(size))
    for round_idx in range(2):
        one_round(plain, round_idx)
        one_round(summed, round_idx)
    torch.testing.assert_close(summed.server.weights, plain.server.weights, rtol=0, atol=3e-7)
    assert torch.equal(summed.server.weights[:5], federation().server.weights[:5])  # nobody sent these
    if isinstance(algorithm, Scaffold):
        torch.testing.assert_close(summed.handler.global_c, plain.handler.global_c, rtol=0, atol=1e-6)


def test_the_server_receives_groups_and_no_client(federation: Build, one_round: OneRound) -> None:
    watching = Plugin()
    summed = federation(plugins=plugins(Sums(5), watching))
    received = one_round(summed, 0)
    assert [len(upload.client_ids) for upload in watching.received] == [5, 5]
    for group in watching.received:
        members = [one for one in received if one.upload.client_ids == group.client_ids]
        assert len(members) == 5 and all(one.upload.weights is group.weights for one in members)
        assert group.num_samples == sum(summed.setting.data.num_samples(c) for c in group.client_ids)
    assert len(received) == 10


def test_a_groups_weights_are_the_weighted_mean_with_absent_coordinates_as_broadcast(
    federation: Build, one_round: OneRound
) -> None:
    watching = Plugin(mask=True, withhold=True)
    alone = federation(plugins=plugins(None, replace(watching, received=[])))
    single = one_round(alone, 0)
    summed = federation(plugins=plugins(Sums(), watching))
    one_round(summed, 0)
    (group,) = watching.received
    counts = torch.tensor([one.upload.num_samples for one in single], dtype=torch.float64)
    filled = torch.stack([torch.where(one.present, one.upload.weights, one.received) for one in single]).double()
    torch.testing.assert_close(group.weights.double(), counts @ filled / counts.sum(), rtol=0, atol=1e-7)
    assert group.shared is None and not group.weights[::3].any()
    assert group.weights[:5].tolist() == alone.payload[0][:5].tolist()


def test_what_a_client_sends_is_its_update_times_its_samples_and_0_where_it_withholds(
    federation: Build, one_round: OneRound
) -> None:
    sums = Sums()
    one_round(federation(plugins=plugins(sums, Plugin(withhold=True))), 0)
    even = next(one for one in sums.seen if one.client_id % 2 == 0)
    assert not even.vectors["update"][:10].any() and even.vectors["update"][10:].any()
    assert even.factors == {"update": float(even.vectors["samples"])}


def test_scores_are_means_over_those_who_sent_them_and_masks_shares_of_keepers(
    federation: Build, one_round: OneRound
) -> None:
    watching = Plugin(withhold=True, extra=True)
    received = one_round(federation(plugins=plugins(Sums(), watching)), 0)
    (group,) = watching.received
    ids = group.client_ids
    odd = [client_id for client_id in ids if client_id % 2]
    assert group.shared is not None and group.shared.tolist()[:10] == [False] * 5 + [True] * 5
    assert group.extras["scores"][5:10].tolist() == pytest.approx([1 + sum(odd) / len(odd)] * 5)
    assert group.extras["scores"][10:].tolist() == pytest.approx([1 + sum(ids) / len(ids)] * len(group.weights[10:]))
    keeper = 24 + ids[0]
    assert float(group.extras["kept"][keeper]) == pytest.approx(1 / len(ids))
    size = group.weights.numel()
    assert received[0].extras_bytes == {"scores": 8 * size, "kept": 8 * size, "holders": 8 * size}


@pytest.mark.parametrize("algorithm", [FedAvg(), Scaffold()], ids=["fedavg", "scaffold"])
def test_what_the_servers_mask_prunes_is_not_sent(federation: Build, one_round: OneRound, algorithm: Algorithm) -> None:
    sums = Sums()
    summed = federation(algorithm=algorithm, plugins=plugins(sums, Plugin(mask=True)))
    received = one_round(summed, 0)
    assert summed.server.mask is not None
    kept, vectors = int(summed.server.mask.sum()), 1 + len(algorithm.codec.vectors)
    assert sums.seen[0].vectors["update"].numel() == kept
    # One number more tells the samples.
    assert summed.traffic(received)[0] == 10 * 8 * (vectors * kept + 1)


def test_a_coordinate_that_a_client_opened_is_sent_and_its_mean_counts_the_others_as_0(
    federation: Build, one_round: OneRound
) -> None:
    class Opens(Plugin):
        @hookimpl
        def on_local_train_start(self, client: Client) -> None:
            if client.client_id == 0:
                client.mask = torch.ones_like(client.layout.prunable)

    sums, watching = Sums(), Opens(mask=True)
    summed = federation(plugins=plugins(sums, watching), weighting="uniform")
    first = next(round_idx for round_idx in range(9) if 0 in summed.start_round(round_idx))
    before = summed.server.weights.clone()
    one_round(summed, first)
    (group,) = watching.received
    own = next(one.vectors["update"] for one in sums.seen if one.client_id == 0)
    pruned = torch.arange(own.numel()) % 3 == 0
    assert own[pruned].any()
    torch.testing.assert_close(group.weights[pruned], own[pruned] / 10)
    opened = pruned & (own != 0)
    assert torch.equal(summed.server.weights[pruned & ~opened], before[pruned & ~opened])
    assert torch.equal(summed.server.weights[opened], group.weights[opened])


def test_buffers_are_summed_like_weights(federation: Build, one_round: OneRound) -> None:
    def net() -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(196), torch.nn.Linear(196, 10))

    plain, summed = federation(model=net()), federation(model=net(), plugins=plugins(Sums(5)))
    one_round(plain, 0)
    one_round(summed, 0)
    assert plain.buffers.server.keys() == summed.buffers.server.keys() >= {"1.running_mean", "1.num_batches_tracked"}
    for name, buffer in plain.buffers.server.items():
        torch.testing.assert_close(summed.buffers.server[name], buffer, rtol=0, atol=1e-6)


def test_a_lost_client_counts_nowhere_and_scaffolds_variate_stays_the_mean_of_all(
    federation: Build, one_round: OneRound
) -> None:
    sampled = federation(algorithm=Scaffold()).start_round(0)
    lost = tuple(sampled[:2])
    summed = federation(algorithm=Scaffold(), plugins=plugins(Sums(lost=lost), Plugin(withhold=True)))
    for round_idx in range(2):
        received = one_round(summed, round_idx)
        assert len(received) == 10 - len(set(lost) & set(summed.sampled(round_idx)))
    known = [summed.states.algorithm(c).get("c") for c in range(12)]
    assert all(known[c] is None for c in lost)
    mean = sum(c.double() for c in known if c is not None) / 12
    torch.testing.assert_close(summed.handler.global_c.double(), mean, rtol=0, atol=1e-6)


def test_a_round_without_any_sum_keeps_the_model(federation: Build) -> None:
    class Nothing:
        @hookimpl
        def sum_uploads(self) -> list[GroupSum]:
            return []

    summed = federation(plugins=(Registered("defenses", "none", "defenses[0]:none", Nothing()),))
    before = summed.server.weights.clone()
    received = summed.train(summed.start_round(0))
    summed.aggregate(received)
    assert received == [] and torch.equal(summed.server.weights, before)


def test_scores_of_the_setup_round_are_summed_too(federation: Build) -> None:
    class Scores(Plugin):
        setup_clients = None

        @hookimpl
        def on_setup_round(self, client: Client) -> None:
            client.send("scores", torch.full_like(client.weights, float(client.client_id)))

    watching = Scores()
    summed = federation(plugins=plugins(Sums(), watching))
    uploads = summed.setup()
    (group,) = watching.received
    assert len(uploads) == 10 and group.extras["scores"].tolist() == pytest.approx(
        [sum(group.client_ids) / 10] * group.weights.numel()
    )
    assert summed.setup_extras == {"scores": 10 * 8 * group.weights.numel()}


def test_a_mean_of_one_group_is_handed_over_unchanged(federation: Build, one_round: OneRound) -> None:
    watching = Plugin()
    summed = federation(plugins=plugins(Sums(), watching))
    one_round(summed, 0)
    weights: Tensor = watching.received[0].weights
    assert torch.equal(summed.server.weights, weights)


def test_a_handler_with_fedlabs_own_mean_works_on_sums(federation: Build, one_round: OneRound) -> None:
    module = "fedlab.contrib.algorithm.fedavg"
    pair = FedLabPair(f"{module}:FedAvgSerialClientTrainer", f"{module}:FedAvgServerHandler")
    summed = federation(algorithm=pair, plugins=plugins(Sums()))
    plain = federation()
    one_round(summed, 0)
    one_round(plain, 0)
    torch.testing.assert_close(summed.server.weights, plain.server.weights, rtol=0, atol=3e-7)
