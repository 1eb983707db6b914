"""A federation built anew from a snapshot goes on with the same bits."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from fedlab.contrib.algorithm.basic_client import SGDSerialClientTrainer
from fedlab.contrib.algorithm.basic_server import SyncServerHandler
from torch import nn

from priprune_plugins import PluginError, ScenarioError, Server, hookimpl
from priprune_plugins.checkpoint.client_files import ClientFiles
from priprune_plugins.checkpoint.state_file import read_state, write_state
from priprune_plugins.plugins import Registered
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.algorithms.pair import FedLabPair
from priprune_plugins.simulation.client_states import Spill
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.snapshot import check_savable, restore, snapshot

OneRound = Callable[[Federation, int], list[Sent]]
CPU = torch.device("cpu")


class MomentumTrainer(SGDSerialClientTrainer):  # type: ignore[misc]
    """A trainer of a user's own: a momentum that goes on from client to client, and a list per client."""

    def setup_optim(self, epochs: int, batch_size: int, lr: float) -> None:
        super().setup_optim(epochs, batch_size, lr)
        self.optimizer = torch.optim.SGD(self._model.parameters(), lr, momentum=0.9)
        self.visits: list[int] = [0] * self.num_clients

    def local_process(self, payload: Any, id_list: Any) -> None:
        self.visits[id_list[0]] += 1
        super().local_process(payload, id_list)


class ServerMomentum(SyncServerHandler):  # type: ignore[misc]
    """A handler of a user's own that remembers a tensor and a number."""

    def global_update(self, buffer: Any) -> None:
        mean = torch.stack([pack[0] for pack in buffer]).mean(0)
        before = getattr(self, "velocity", torch.zeros_like(mean))
        self.velocity = 0.5 * before + mean - self.model_parameters
        self.set_model(self.model_parameters + self.velocity)


class Keeper(ServerMomentum):
    """Keeps what no file can hold."""

    def setup_optim(self) -> None:
        self.arguments = object()


def pair(handler: str = "ServerMomentum") -> FedLabPair:
    return FedLabPair(f"{__name__}:MomentumTrainer", f"{__name__}:{handler}")


@dataclass(frozen=True, eq=False)
class GrowingMask:
    """A pruner with a mask that it edits in place, shared between its state and the server."""

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        state = server.state(self)
        if "mask" not in state:
            state["mask"] = torch.ones_like(server.layout.prunable)
            server.mask = state["mask"]
        state["mask"][server.round_idx * 7] = False


def pruner(plugin: object, kind: str = "pruners") -> tuple[Registered, ...]:
    return (Registered(kind, "p", f"{kind}:p", plugin),)


def taken_over(federated: Federation, fresh: Federation, folder: Path) -> None:
    """Hand everything over through files, as a killed run does."""
    federated.states.clients.spill_to(Spill(ClientFiles(folder, CPU), 0), {})
    files = federated.states.clients.save_all()
    digest = write_state(folder / "state", snapshot(federated), "state")
    restore(fresh, read_state(folder / "state", digest, CPU))
    fresh.states.clients.spill_to(Spill(ClientFiles(folder, CPU), 0), files)


def assert_goes_on_alike(build: Callable[[], Federation], one_round: OneRound, folder: Path) -> None:
    whole, first, second = build(), build(), build()
    for round_idx in range(4):
        one_round(whole, round_idx)
    for round_idx in range(2):
        one_round(first, round_idx)
    taken_over(first, second, folder)
    for round_idx in (2, 3):
        one_round(second, round_idx)
    assert torch.equal(whole.server.weights, second.server.weights)
    assert whole.masks_of([]) == second.masks_of([])
    assert whole.test() == second.test()
    assert [whole.test_client(c) for c in range(3)] == [second.test_client(c) for c in range(3)]


def test_every_algorithm_goes_on_alike(
    algorithm: Algorithm, federation: Callable[..., Federation], one_round: OneRound, tmp_path: Path
) -> None:
    assert_goes_on_alike(lambda: federation(algorithm, pruner(GrowingMask())), one_round, tmp_path)


def test_a_users_own_trainer_and_handler_go_on_alike(
    federation: Callable[..., Federation], one_round: OneRound, tmp_path: Path
) -> None:
    assert_goes_on_alike(lambda: federation(pair()), one_round, tmp_path)


def test_a_handler_that_keeps_what_no_file_holds_is_refused(federation: Callable[..., Federation]) -> None:
    federated = federation(pair("Keeper"))
    federated.handler.setup_optim()
    with pytest.raises(ScenarioError, match=r"algorithm: its handler's Keeper\['arguments'\] is a object: .*keep: 0"):
        check_savable(federated)


def test_batch_norm_statistics_go_on_alike(
    federation: Callable[..., Federation], one_round: OneRound, tmp_path: Path
) -> None:
    for number, policy in enumerate(("average", "local")):

        def build(policy: str = policy) -> Federation:
            torch.manual_seed(1)
            net = nn.Sequential(nn.Conv2d(1, 4, 5), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(400, 10))
            return federation(model=net, buffers=policy)

        folder = tmp_path / str(number)
        folder.mkdir()
        assert_goes_on_alike(build, one_round, folder)


@dataclass(frozen=True, eq=False)
class Holder:
    """Remembers an object at the server."""

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        server.state(self)["writer"] = object()


def test_a_plugin_that_remembers_an_object_is_named_and_a_tracker_may(
    federation: Callable[..., Federation], one_round: OneRound
) -> None:
    federated = federation(plugins=pruner(Holder()))
    one_round(federated, 0)
    with pytest.raises(PluginError, match=r"pruners:p: server.state\(self\)\['writer'\] is a object"):
        check_savable(federated)
    tracked = federation(plugins=pruner(Holder(), "trackers"))
    tracked.host.on_round_start(tracked.server)
    check_savable(tracked)
    assert snapshot(tracked)["plugins"] == {}
