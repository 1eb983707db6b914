"""What a round does beside training: refusing bad uploads, counting bytes, letting personal methods evaluate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_plugins import Client, PluginError, Server, Upload, hookimpl
from priprune_plugins.plugins import Registered
from priprune_plugins.simulation.algorithm import Algorithm, clients_checked
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.fedprox import FedProx
from priprune_plugins.simulation.algorithms.pair import FedLabPair
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.traffic import vector_bytes

OneRound = Callable[[Federation, int], list[Sent]]


def defence(plugin: object) -> tuple[Registered, ...]:
    return (Registered("defenses", "d", "defenses[0]:d", plugin),)


def test_a_sparse_vector_is_counted_with_a_bitmap_or_indices_whichever_is_smaller() -> None:
    assert vector_bytes(800, 800, 4) == 3200  # dense
    assert vector_bytes(800, 400, 4) == 400 * 4 + 100  # bitmap of 800 bits
    assert vector_bytes(800, 10, 4) == 10 * 4 + 10 * 4  # 32-bit indices


def test_bytes_of_a_round_by_hand(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class Half:
        @hookimpl
        def on_round_start(self, server: Server) -> None:
            server.mask = torch.arange(server.layout.num_parameters) % 2 == 0

    federated = federation(plugins=(Registered("pruners", "half", "pruner:half", Half()),))
    federated.start_round(0)
    received = federated.train([1, 2, 3])
    size = federated.server.layout.num_parameters  # 2,074 = 4 * 25 + 4 + 196 * 10 + 10
    bitmap, values = -(-size // 8), size // 2 * 4
    up, down = federated.traffic(received)
    assert size == 2074
    assert up == 3 * (values + bitmap)
    assert down == 3 * (values + bitmap + bitmap)  # the new mask travels too


def test_on_local_step_shows_the_gradient_of_the_plain_loss(federation: Callable[..., Federation]) -> None:
    errors: list[float] = []

    @dataclass(frozen=True, eq=False)
    class Compare:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            images, labels = client.batches[client.step_idx]
            parameters = list(client.model.parameters())
            loss = nn.functional.cross_entropy(client.model(images), labels)
            exact = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters)])
            errors.append(float((client.loss_grad - exact).abs().max()))

    for algorithm in (FedAvg(), FedProx(mu=2.0)):
        federated = federation(algorithm, defence(Compare()), steps=3)
        federated.start_round(0)
        federated.train([1])
    assert len(errors) == 6
    assert max(errors) < 1e-6


def test_scaffolds_plain_gradient_is_read_before_its_correction(
    federation: Callable[..., Federation], one_round: OneRound
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    @dataclass(frozen=True, eq=False)
    class Keep:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            seen.append((client.loss_grad.clone(), client.grad.clone()))

    federated = federation(Scaffold(), defence(Keep()), steps=1)
    one_round(federated, 0)
    seen.clear()
    trained_before = set(federated.states.clients.known())
    client_id = next(chosen for chosen in federated.start_round(1) if chosen in trained_before)
    correction = federated.handler.global_c - federated.states.algorithm(client_id)["c"]
    federated.train([client_id])
    assert correction.abs().max() > 0
    assert torch.allclose(seen[0][1], seen[0][0] + correction, atol=1e-6)


def test_an_edited_gradient_is_what_the_optimiser_uses(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class Ones:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            client.grad = torch.ones_like(client.grad)

    federated = federation(plugins=defence(Ones()), steps=3)
    federated.start_round(0)
    (sent,) = federated.train([1])
    assert torch.allclose(sent.received - sent.upload.weights, torch.full_like(sent.received, 0.3), atol=1e-6)


def test_personal_weights_are_what_a_clients_accuracy_is_measured_with(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class AlwaysZero:
        @hookimpl
        def on_client_evaluate(self, client: Client) -> None:
            client.weights = torch.zeros_like(client.weights)

    federated = federation(plugins=defence(AlwaysZero()))
    federated.start_round(0)
    labels = federated.setting.data.client(3, "test")[1]
    assert federated.test_client(3).accuracy == pytest.approx(float((labels == 0).float().mean()))


def test_scores_of_the_setup_round_pass_defence_and_server(federation: Callable[..., Federation]) -> None:
    seen: list[Upload] = []

    @dataclass(frozen=True, eq=False)
    class Scores:
        @hookimpl
        def on_setup_round(self, client: Client) -> None:
            client.send("scores", client.weights.abs())

        @hookimpl
        def before_upload(self, upload: Upload) -> Upload:
            return upload.withhold(torch.arange(upload.weights.numel()) < 5)

        @hookimpl
        def on_server_receive(self, upload: Upload) -> None:
            seen.append(upload)

    federated = federation(plugins=defence(Scores()))
    federated.setup()
    assert len(seen) == 10
    assert {upload.round_idx for upload in seen} == {-1}
    assert seen[0].shared is not None
    assert not seen[0].shared[:5].any()
    assert torch.equal(seen[0].extras["scores"][5:], federated.server.weights.abs()[5:])
    assert not seen[0].extras["scores"][:5].any()


def test_any_fedlab_pair_runs_by_module_and_class(federation: Callable[..., Federation], one_round: OneRound) -> None:
    pair = FedLabPair(
        trainer_path="fedlab.contrib.algorithm.fedprox:FedProxSerialClientTrainer",
        handler_path="fedlab.contrib.algorithm.fedprox:FedProxServerHandler",
        trainer_options={"mu": 0.1},
    )
    own, built_in = federation(pair), federation(FedProx(mu=0.1))
    for federated in (own, built_in):
        one_round(federated, 0)
    assert torch.equal(own.server.weights, built_in.server.weights)


def test_more_clients_a_round_than_clients_is_refused() -> None:
    with pytest.raises(Exception, match="clients_per_round is 11, but data has 10 clients"):
        clients_checked(10, 11)


def test_a_test_leaves_no_trace_in_the_training(
    federation: Callable[..., Federation], algorithm: Algorithm, one_round: OneRound
) -> None:
    plain, tested = federation(algorithm), federation(algorithm)
    for round_idx in range(2):
        one_round(plain, round_idx)
        tested.test()
        tested.test_client(0)
        one_round(tested, round_idx)
    assert torch.equal(plain.server.weights, tested.server.weights)


@pytest.mark.parametrize(("wanted", "expected"), [((), []), ((3, 0), [0, 3])])
def test_a_plugin_says_which_clients_the_setup_round_needs(
    federation: Callable[..., Federation], wanted: tuple[int, ...], expected: list[int]
) -> None:
    visited: list[tuple[int, int]] = []

    @dataclass(frozen=True, eq=False)
    class Chosen:
        setup_clients = wanted

        @hookimpl
        def on_setup_round(self, client: Client) -> None:
            visited.append((client.client_id, len(client.batches)))

    federation(plugins=defence(Chosen())).setup()
    # 125 images a client make six full batches of 20.
    assert visited == [(client_id, 6) for client_id in expected]


def test_a_round_holds_no_more_than_the_aggregation_needs(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class Talks:
        @hookimpl
        def on_local_train_start(self, client: Client) -> None:
            client.weights.mul_(0.5)
            client.send("scores", client.weights.abs())

    federated = federation(plugins=defence(Talks()))
    seen: list[Sent] = []
    received = federated.train(federated.start_round(0), seen.append)
    size = federated.server.layout.num_parameters
    assert all(set(sent.upload.extras) == {"scores"} and sent.start is not sent.received for sent in seen)
    assert all(not sent.upload.extras and sent.start is sent.received for sent in received)
    assert federated.traffic(received)[0] == len(received) * 2 * 4 * size  # let go, and counted all the same


def test_editing_the_mask_in_place_is_refused(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class InPlace:
        @hookimpl
        def on_round_start(self, server: Server) -> None:
            server.mask = torch.ones(server.layout.num_parameters, dtype=torch.bool)

        @hookimpl
        def on_local_train_end(self, client: Client) -> None:
            assert client.mask is not None
            client.mask[:5] = False

    federated = federation(plugins=(Registered("pruners", "p", "pruner:p", InPlace()),))
    federated.start_round(0)
    with pytest.raises(PluginError, match=r"wrote to client\.mask in on_local_train_end, which is read-only"):
        federated.train([1])


def test_a_reopened_coordinate_becomes_the_mean_of_what_was_sent(
    federation: Callable[..., Federation], algorithm: Algorithm
) -> None:
    @dataclass(frozen=True, eq=False)
    class Reopen:
        @hookimpl
        def on_round_start(self, server: Server) -> None:
            server.mask = torch.arange(server.layout.num_parameters) % 2 == 0

        @hookimpl
        def on_local_train_start(self, client: Client) -> None:
            client.mask = torch.ones(client.layout.num_parameters, dtype=torch.bool)

    plugins = (Registered("pruners", "p", "pruner:p", Reopen()),)
    federated = federation(algorithm, plugins, weighting="uniform")
    federated.start_round(0)
    received = federated.train([1, 2])
    mean = torch.stack([sent.upload.weights for sent in received]).mean(0)
    federated.aggregate(received)
    assert torch.allclose(federated.server.weights, mean, atol=1e-6)


def test_what_the_server_knows_of_scaffold_gives_the_clean_gradient(
    federation: Callable[..., Federation], one_round: OneRound
) -> None:
    gradients: dict[int, Tensor] = {}

    @dataclass(frozen=True, eq=False)
    class Keep:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            gradients[client.client_id] = client.loss_grad.clone()

    federated = federation(Scaffold(), defence(Keep()), steps=1)
    for round_idx in range(2):
        one_round(federated, round_idx)
    seen: list[Sent] = []
    federated.train(federated.start_round(2), seen.append)
    for sent in seen:
        assert sent.offset is not None
        recovered = -sent.pack[0] / 0.1 - sent.offset
        assert torch.allclose(recovered, gradients[sent.upload.client_ids[0]], atol=1e-5)


def test_noise_on_the_weights_is_not_undone_by_the_control_variate(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class Noise:
        @hookimpl
        def before_upload(self, client: Client, upload: Upload) -> Upload:
            noise = torch.randn(upload.weights.numel(), generator=client.generator(self))
            return replace(upload, weights=upload.weights + noise)

    federated = federation(Scaffold(), defence(Noise()), steps=1)
    federated.start_round(0)
    (sent,) = federated.train([1])
    from_dc = -sent.upload.extras["dc"] * 0.1
    assert torch.allclose(from_dc, sent.pack[0], atol=1e-5)
    assert sent.pack[0].std() > 0.9


def test_pruned_coordinates_are_zero_in_a_clients_evaluated_model(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class Stale:
        @hookimpl
        def on_round_start(self, server: Server) -> None:
            server.mask = torch.arange(server.layout.num_parameters) % 2 == 0

        @hookimpl
        def on_client_evaluate(self, client: Client) -> None:
            client.weights = torch.ones_like(client.weights)

    federated = federation(plugins=(Registered("pruners", "p", "pruner:p", Stale()),))
    federated.start_round(0)
    federated.test_client(3)
    assert not federated.runner.trainer.flat[1::2].any()
    assert federated.runner.trainer.flat[::2].all()


def test_what_is_behind_an_upload_is_asked_for_only_where_it_is_kept(federation: Callable[..., Federation]) -> None:
    federated = federation(steps=1)
    ids = federated.start_round(0)[:3]
    asked: list[tuple[int, bool]] = []
    shown: list[int] = []
    run = federated.crew.run

    def noting(visits: Any) -> Any:
        asked.extend((visit.client_id, visit.observed) for visit in visits)
        return run(visits)

    federated.crew = SimpleNamespace(run=noting)
    federated.train(ids, lambda sent: shown.extend(sent.upload.client_ids), ids[1:2])
    assert asked == [(ids[0], False), (ids[1], True), (ids[2], False)] and shown == [ids[1]]
