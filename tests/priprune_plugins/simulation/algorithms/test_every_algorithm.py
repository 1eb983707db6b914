"""What holds for each algorithm of ours as it does for FedLab's: order, probes, resume, lost and dropped uploads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from priprune_plugins import Client, Server, Upload, hookimpl
from priprune_plugins.checkpoint.client_files import ClientFiles
from priprune_plugins.checkpoint.state_file import read_state, write_state
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.algorithms.ditto import Ditto
from priprune_plugins.simulation.algorithms.fedasync import FedAsync
from priprune_plugins.simulation.algorithms.feddyn import FedDyn
from priprune_plugins.simulation.algorithms.ifca import IFCA
from priprune_plugins.simulation.algorithms.qfedavg import QFedAvg
from priprune_plugins.simulation.client_states import Spill
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.snapshot import check_savable, restore, snapshot

Build = Callable[..., Federation]
OneRound = Callable[[Federation, int], list[Sent]]
CPU = torch.device("cpu")
OURS: dict[str, Callable[[], Algorithm]] = {
    "ditto": lambda: Ditto(personal_steps=3),
    "fedasync": FedAsync,
    "feddyn": FedDyn,
    "ifca": lambda: IFCA(clusters=3),
    "qfedavg": QFedAvg,
}


@pytest.fixture(params=sorted(OURS))
def ours(request: pytest.FixtureRequest) -> Algorithm:
    """Each algorithm whose trainer or handler is ours."""
    return OURS[request.param]()


@dataclass(frozen=True, eq=False)
class Busy:
    """Prunes by a growing mask, composes starts from what it remembers and withholds by client."""

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        server.mask = torch.arange(server.layout.num_parameters) % (9 - server.round_idx) != 0

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        state = client.state(self)
        state["visits"] = state.get("visits", 0) + 1
        noise = torch.randn(client.layout.num_parameters, generator=client.generator(self))
        client.weights += 1e-3 * state["visits"] * noise

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload:
        return upload.withhold((torch.arange(upload.weights.numel()) + client.client_id) % 5 == 0)


BUSY = (Registered("defenses", "busy", "defenses[0]:busy", Busy()),)


def everything(federated: Federation) -> list[object]:
    """All that a further round may depend on, and all that is measured."""
    handler = [value.tolist() for _, value in sorted(vars(federated.handler).items()) if torch.is_tensor(value)]
    held = [{k: v.tolist() for k, v in federated.states.algorithm(c).items()} for c in range(12)]
    return [handler, held, federated.test(), [federated.test_client(c) for c in (0, 5, 11)]]


def test_the_order_of_clients_and_probes_change_no_bit(federation: Build, ours: Algorithm) -> None:
    plain, other = federation(ours, BUSY), federation(ours, BUSY)
    for round_idx in range(3):
        plain.aggregate(plain.train(plain.start_round(round_idx)))
        client_ids = other.start_round(round_idx)
        for client_id in client_ids[:3]:
            states = other.states.fork(client_id)
            probe = replace(other.visit(client_id), states=states, purpose="audit", batch_size=1, keep=False)
            other.runner.run(replace(probe, observed=True))
            other.runner.run(replace(probe, host=PluginHost(), purpose="control0", steps=1))
        other.aggregate(other.train(client_ids[::-1]))
    assert everything(plain) == everything(other)


def test_a_federation_built_anew_from_files_goes_on_with_the_same_bits(
    federation: Build, ours: Algorithm, one_round: OneRound, tmp_path: Path
) -> None:
    whole, first, second = (federation(ours, BUSY) for _ in range(3))
    check_savable(first)
    for round_idx in range(4):
        one_round(whole, round_idx)
    for round_idx in range(2):
        one_round(first, round_idx)
    first.states.clients.spill_to(Spill(ClientFiles(tmp_path, CPU), 0), {})
    files = first.states.clients.save_all()
    digest = write_state(tmp_path / "state", snapshot(first), "state")
    restore(second, read_state(tmp_path / "state", digest, CPU))
    second.states.clients.spill_to(Spill(ClientFiles(tmp_path, CPU), 0), files)
    for round_idx in (2, 3):
        one_round(second, round_idx)
    assert everything(whole) == everything(second)


def test_a_client_whose_upload_is_dropped_remembers_nothing_of_the_round(federation: Build, ours: Algorithm) -> None:
    @dataclass(frozen=True, eq=False)
    class Diverge:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            if client.client_id == 4:
                client.grad = torch.full_like(client.grad, torch.nan)

    federated = federation(ours, defense=Diverge())
    federated.start_round(0)
    received = federated.train([2, 4])
    federated.aggregate(received)
    assert [sent.upload.client_ids for sent in received] == [(2,)]
    assert dict(federated.states.algorithm(4)) == {}
    assert bool(federated.states.algorithm(2)) == ours.stateful
    assert bool(torch.isfinite(federated.server.weights).all())
    federated.start_round(1)
    assert [sent.upload.client_ids for sent in federated.train([2, 3])] == [(2,), (3,)]


def test_a_round_without_uploads_changes_nothing(federation: Build, ours: Algorithm, one_round: OneRound) -> None:
    federated = federation(ours)
    one_round(federated, 0)
    before = everything(federated)
    federated.start_round(1)
    federated.aggregate([])
    assert everything(federated) == before
