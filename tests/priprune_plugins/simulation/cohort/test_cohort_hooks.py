"""Plugins reach each client of a cohort as they would one that trains alone."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from priprune_plugins import Client, Server, Upload, hookimpl
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.fedprox import FedProx
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.cohort import CohortCrew
from priprune_plugins.simulation.crew import MakeCrew, OneByOne
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

Build = Callable[..., Federation]
Crews = Callable[..., MakeCrew]
Play = Callable[..., tuple[Tensor, list[Sent]]]
Check = Callable[..., None]


@dataclass(frozen=True, eq=False)
class Steers:
    """Uses every way in which a plugin may reach into a client's training."""

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        server.mask = torch.arange(server.layout.num_parameters, device=server.weights.device) % 5 != 0

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        client.weights.mul_(0.5 + client.client_id / 5)
        client.mask = torch.arange(client.weights.numel(), device=client.weights.device) % (2 + client.client_id) != 0

    @hookimpl
    def on_local_step(self, client: Client) -> None:
        if client.client_id % 2:
            client.grad.mul_(1 + client.step_idx)
            client.weights.add_(client.loss_grad, alpha=0.01)

    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        client.weights.add_(client.start, alpha=0.1)
        client.send("half", client.weights.half())

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload:
        return upload.withhold(torch.arange(upload.weights.numel(), device=upload.weights.device) % 3 == 0)


@pytest.mark.parametrize("algorithm", [FedAvg(), FedProx(mu=0.5), Scaffold()], ids=["fedavg", "fedprox", "scaffold"])
def test_hooks_reach_their_own_clients_row_and_no_other(
    together: Crews, played: Play, check_same: Check, algorithm: Algorithm
) -> None:
    results = [played("mini", crew, algorithm, [("defenses", Steers())], steps=3) for crew in (OneByOne, together())]
    check_same(*results, within=1e-9)


@dataclass(frozen=True, eq=False)
class Uses:
    """Keeps what a client's own model gives."""

    outputs: list[Tensor]

    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        self.outputs.append(client.model(client.batches[0][0]).detach())
        self.outputs.append(torch.tensor(client.evaluate("test").loss))


def test_a_clients_model_has_the_weights_of_its_row(together: Crews, played: Play) -> None:
    found = []
    for crew in (OneByOne, together()):
        outputs: list[Tensor] = []
        played("mini", crew, plugins=[("defenses", Uses(outputs))], steps=1)
        found.append(outputs)
    assert len(found[0]) == len(found[1]) == 12  # two of each of three clients in two rounds
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one.double(), other.double(), rtol=0, atol=1e-6)


@dataclass(frozen=True, eq=False)
class Diverges:
    """Makes the upload of one client worthless."""

    client_id: int

    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        client.state(self)["trained"] = client.weights.clone()
        if client.client_id == self.client_id:
            client.weights[0] = torch.nan
            client.state(self)["trained"][0] = torch.nan


def test_a_client_that_diverges_is_dropped_alone(build: Build, together: Crews) -> None:
    sampled = build("mlp", OneByOne).start_round(0)
    plugin = Diverges(sampled[1])
    federated = build("mlp", together(), Scaffold(), [("defenses", plugin)])
    received = federated.train(federated.start_round(0))
    assert [sent.upload.client_ids for sent in received] == [(sampled[0],), (sampled[2],)]
    assert not federated.states.of(plugin, sampled[1])
    assert not federated.states.algorithm(sampled[1])
    assert federated.states.algorithm(sampled[0])


def test_training_waits_for_no_device(build: Build, together: Crews, monkeypatch: pytest.MonkeyPatch) -> None:
    # A meta tensor has no numbers: whoever asks for one fails, as on a GPU it would wait. FedLab's constructors do.
    monkeypatch.setattr(nn.Module, "cpu", lambda model: model)
    federated = build("mini", together(), FedProx(mu=0.1), [("defenses", Steers())], device="meta")
    federated.server.mask = torch.ones(federated.server.weights.numel(), dtype=torch.bool, device="meta")
    federated.payload = [federated.server.weights.clone()]
    visits = [federated.visit(client_id) for client_id in range(3)]
    assert isinstance(federated.crew, CohortCrew)
    uploaded, losses = federated.crew.uploaded(visits)
    assert len(uploaded) == losses.numel() == 3
    with pytest.raises((RuntimeError, NotImplementedError)):
        losses.tolist()
