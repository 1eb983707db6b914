"""Clients that train together send what they send one after another, whatever the model, algorithm and plugins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_defenses.priprune import PriPrune
from priprune_defenses.release import Release
from priprune_plugins import Client, Server, Upload, hookimpl
from priprune_plugins.catalogue import installed, load_class
from priprune_plugins.data.digits import Digits
from priprune_plugins.data.federation import FederatedImages, federate
from priprune_plugins.generators import generator
from priprune_plugins.layout import Layout
from priprune_plugins.messages import Facts
from priprune_plugins.models.build import build_model
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.scenario.sections import AggregationSection, DataSection
from priprune_plugins.scenario.selection import Selection
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.fednova import FedNova
from priprune_plugins.simulation.algorithms.fedprox import FedProx
from priprune_plugins.simulation.algorithms.ifca import IFCA
from priprune_plugins.simulation.algorithms.powerofchoice import PowerOfChoice
from priprune_plugins.simulation.algorithms.qfedavg import QFedAvg
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.client_round import ClientRunner
from priprune_plugins.simulation.cohort import CohortCrew
from priprune_plugins.simulation.crew import MakeCrew, OneByOne
from priprune_plugins.simulation.federation import Federation, Setting
from priprune_plugins.simulation.sent import Sent
from priprune_pruners.feddst import FedDST
from priprune_pruners.magnitude import Magnitude
from priprune_pruners.prunefl import PruneFL

# A step at 0.1 throws conv4 off to weights of a million.
CLIENTS, SAMPLED, BATCH, LR = 5, 3, 8, 0.01
SMALL = ("lenet5", "lenet_dlg", "mini", "mlp", "small14")
ALGORITHMS: dict[str, Callable[[], Algorithm]] = {
    "fedavg": FedAvg,
    "fedprox": lambda: FedProx(mu=0.5),
    "fednova": FedNova,
    "scaffold": Scaffold,
    "powerofchoice": PowerOfChoice,
    "qfedavg": QFedAvg,
    "ifca": IFCA,
}
PLUGINS: dict[str, Callable[[], list[tuple[str, object]]]] = {
    "none": list,
    "magnitude and priprune": lambda: [("pruners", Magnitude(rate=0.3)), ("defenses", PriPrune(theta=1.3))],
    "prunefl and release": lambda: [
        ("pruners", PruneFL(rate=0.3, every=2, initial="magnitude")),
        ("defenses", Release()),
    ],
    "feddst": lambda: [("pruners", FedDST(rate=0.3, every=1, until=10))],
}


@cache
def images(size: int, dtype: torch.dtype) -> FederatedImages:
    """Digits over clients of unequal sizes, some with less than a batch."""
    section = DataSection(clients=CLIENTS, partition="dirichlet", alpha=0.5)
    data = federate(Digits(size=size, train=60, test=40).load(), section, seed=3)
    inner = data.data
    inner = replace(inner, train_images=inner.train_images.to(dtype), test_images=inner.test_images.to(dtype))
    return replace(data, data=inner, mean_image=data.mean_image.to(dtype))


@cache
def architecture(name: str) -> Any:
    return BatchNormed() if name == "batch_normed" else load_class(Selection("models", name, {}, "model"))()


@dataclass(frozen=True, eq=False)
class BatchNormed:
    """A small network with statistics of its own."""

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        norm = nn.BatchNorm2d(4)
        return nn.Sequential(nn.Conv2d(1, 4, 5, stride=4), norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, num_classes))


def together(size: int | None = None) -> MakeCrew:
    def make(runner: ClientRunner) -> CohortCrew:
        rule = runner.algorithm.local_rule()
        assert rule is not None
        return CohortCrew(runner, rule, size)

    return make


def registered(plugins: Sequence[tuple[str, object]]) -> list[Registered]:
    return [Registered(kind, type(p).__name__, f"{kind}[{i}]:p", p) for i, (kind, p) in enumerate(plugins)]


def federation(
    model: str,
    crew: MakeCrew,
    algorithm: Algorithm | None = None,
    plugins: Sequence[tuple[str, object]] = (),
    steps: int | None = 2,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    **aggregation: Any,
) -> Federation:
    size = 32 if model.startswith("vgg") else 28
    data = images(size, dtype).to(device)

    def build() -> nn.Module:
        made = build_model(architecture(model), (1, size, size), 10, (0.3,), (0.3,), None, generator(0, "init"))
        return made.to(dtype)

    net = build().to(device)
    facts = Facts(
        build_model=build,
        layout=Layout.of(net),
        image_shape=(1, size, size),
        num_classes=10,
        lr=LR,
        batch_size=BATCH,
        local_steps=steps,
        epochs=None if steps else 2,
        algorithm="test",
        mean_image=data.mean_image,
        rounds=4,
    )
    setting = Setting(
        algorithm=algorithm or FedAvg(),
        training=LocalTraining(1 if steps else 2, BATCH, LR, SAMPLED, CLIENTS),
        steps=steps,
        rounds=4,
        model=net,
        data=data,
        facts=facts,
        host=PluginHost(registered(plugins)),
        aggregation=AggregationSection(**aggregation),
        absent="previous",
        seed=7,
        crew=crew,
    )
    return Federation(setting)


def played(federated: Federation, rounds: int = 2) -> tuple[Tensor, list[Sent]]:
    """Return the server's weights after some rounds, and every upload."""
    federated.setup()
    everything = []
    for round_idx in range(rounds):
        received = federated.train(federated.start_round(round_idx))
        federated.aggregate(received)
        everything += received
    return federated.server.weights.clone(), everything


def check_same(alone: tuple[Tensor, list[Sent]], cohort: tuple[Tensor, list[Sent]], within: float) -> None:
    assert torch.allclose(cohort[0], alone[0], rtol=0, atol=within)
    for one, other in zip(alone[1], cohort[1], strict=True):
        assert one.upload.client_ids == other.upload.client_ids
        assert other.loss == pytest.approx(one.loss, abs=within)
        assert other.withheld_rate == pytest.approx(one.withheld_rate, abs=within)
        assert torch.allclose(other.upload.weights, one.upload.weights, rtol=0, atol=within)
        assert one.upload.buffers.keys() == other.upload.buffers.keys()
        for name, buffer in one.upload.buffers.items():
            assert torch.allclose(other.upload.buffers[name], buffer, rtol=0, atol=within)


# In float64 rounding decides no comparison of scores: the two must agree in every mask, and far below 1e-5.
@pytest.mark.parametrize("plugins", PLUGINS)
@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox"])
@pytest.mark.parametrize(
    "model",
    [
        name if name in SMALL else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(entry.name for entry in installed("models"))
    ],
)
def test_a_cohort_trains_as_its_clients_do_alone(model: str, algorithm: str, plugins: str) -> None:
    results = [
        played(federation(model, crew, ALGORITHMS[algorithm](), PLUGINS[plugins]())) for crew in (OneByOne, together())
    ]
    check_same(*results, within=1e-9)


@pytest.mark.parametrize("steps", [2, None])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_rule_is_its_trainers(algorithm: str, steps: int | None) -> None:
    plugins = PLUGINS["magnitude and priprune"]
    results = [
        played(federation("lenet5", crew, ALGORITHMS[algorithm](), plugins(), steps), rounds=3)
        for crew in (OneByOne, together())
    ]
    check_same(*results, within=1e-9)


@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold"])
def test_single_precision_agrees_within_rounding_at_any_cohort_size(algorithm: str) -> None:
    def result(crew: MakeCrew) -> tuple[Tensor, list[Sent]]:
        return played(federation("mini", crew, ALGORITHMS[algorithm](), dtype=torch.float32))

    whole = result(together())
    check_same(result(OneByOne), whole, within=1e-5)
    for size in (1, 2):
        check_same(whole, result(together(size)), within=1e-6)


def test_clients_keep_their_own_batch_norm_statistics() -> None:
    results = []
    for crew in (OneByOne, together()):
        federated = federation("batch_normed", crew, steps=3, buffers="local")
        federated.train(federated.start_round(0))
        results.append(federated.buffers.clients)
    alone, cohort = results
    assert len(cohort) == SAMPLED
    for client_id, buffers in alone.items():
        for name, buffer in buffers.items():
            assert torch.allclose(cohort[client_id][name], buffer, rtol=0, atol=1e-9)
    (first, second, _) = cohort.values()
    assert not torch.equal(first["net.1.running_mean"], second["net.1.running_mean"])


@dataclass(frozen=True, eq=False)
class Steers:
    """Uses every way in which a plugin may reach into a client's training."""

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        server.mask = torch.arange(server.layout.num_parameters, device=server.weights.device) % 5 != 0

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        client.weights.mul_(0.5 + client.client_id / CLIENTS)
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


@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox", "scaffold"])
def test_hooks_reach_their_own_clients_row_and_no_other(algorithm: str) -> None:
    results = [
        played(federation("mini", crew, ALGORITHMS[algorithm](), [("defenses", Steers())], steps=3))
        for crew in (OneByOne, together())
    ]
    check_same(*results, within=1e-9)


@dataclass(frozen=True, eq=False)
class Uses:
    """Keeps what a client's own model gives."""

    outputs: list[Tensor]

    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        self.outputs.append(client.model(client.batches[0][0]).detach())
        self.outputs.append(torch.tensor(client.evaluate("test").loss))


def test_a_clients_model_has_the_weights_of_its_row() -> None:
    found = []
    for crew in (OneByOne, together()):
        outputs: list[Tensor] = []
        played(federation("mini", crew, plugins=[("defenses", Uses(outputs))], steps=1))
        found.append(outputs)
    assert len(found[0]) == len(found[1]) == 4 * SAMPLED
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


def test_a_client_that_diverges_is_dropped_alone() -> None:
    sampled = federation("mlp", OneByOne).start_round(0)
    plugin = Diverges(sampled[1])
    federated = federation("mlp", together(), Scaffold(), [("defenses", plugin)])
    received = federated.train(federated.start_round(0))
    assert [sent.upload.client_ids for sent in received] == [(sampled[0],), (sampled[2],)]
    assert not federated.states.of(plugin, sampled[1])
    assert not federated.states.algorithm(sampled[1])
    assert federated.states.algorithm(sampled[0])


def test_training_waits_for_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    # A meta tensor has no numbers: whoever asks for one fails, as on a GPU it would wait. FedLab's constructors do.
    monkeypatch.setattr(nn.Module, "cpu", lambda model: model)
    federated = federation("mini", together(), FedProx(mu=0.1), [("defenses", Steers())], device="meta")
    federated.server.mask = torch.ones(federated.server.weights.numel(), dtype=torch.bool, device="meta")
    federated.payload = [federated.server.weights.clone()]
    visits = [federated.visit(client_id) for client_id in range(SAMPLED)]
    assert isinstance(federated.crew, CohortCrew)
    uploaded, losses = federated.crew.uploaded(visits)
    assert len(uploaded) == losses.numel() == SAMPLED
    with pytest.raises((RuntimeError, NotImplementedError)):
        losses.tolist()
