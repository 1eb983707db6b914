"""Federations in float64 whose clients train one after another or together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_plugins.catalogue import load_class
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
from priprune_plugins.simulation.client_round import ClientRunner
from priprune_plugins.simulation.cohort import CohortCrew
from priprune_plugins.simulation.crew import MakeCrew
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.setting import Setting

# A step at 0.1 throws conv4 off to weights of a million.
CLIENTS, SAMPLED, BATCH, LR = 5, 3, 8, 0.01
Played = tuple[Tensor, list[Sent]]


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


def registered(plugins: Sequence[tuple[str, object]]) -> list[Registered]:
    return [Registered(kind, type(p).__name__, f"{kind}[{i}]:p", p) for i, (kind, p) in enumerate(plugins)]


def build_federation(
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


@pytest.fixture
def build() -> Callable[..., Federation]:
    """Build a federation of one of the models, with whoever carries out its visits."""
    return build_federation


@pytest.fixture
def together() -> Callable[..., MakeCrew]:
    """Let clients train together, at most so many at once."""

    def crew(size: int | None = None) -> MakeCrew:
        def make(runner: ClientRunner) -> CohortCrew:
            rule = runner.algorithm.local_rule()
            assert rule is not None
            return CohortCrew(runner, rule, size)

        return make

    return crew


@pytest.fixture
def played(build: Callable[..., Federation]) -> Callable[..., Played]:
    """Return a federation's weights after some rounds, and every upload."""

    def play(*args: Any, rounds: int = 2, **options: Any) -> Played:
        federated = build(*args, **options)
        federated.setup()
        everything = []
        for round_idx in range(rounds):
            received = federated.train(federated.start_round(round_idx))
            federated.aggregate(received)
            everything += received
        return federated.server.weights.clone(), everything

    return play


@pytest.fixture
def check_same() -> Callable[..., None]:
    """Compare all that two federations left."""

    def check(alone: Played, cohort: Played, within: float) -> None:
        assert torch.allclose(cohort[0], alone[0], rtol=0, atol=within)
        for one, other in zip(alone[1], cohort[1], strict=True):
            assert one.upload.client_ids == other.upload.client_ids
            assert other.loss == pytest.approx(one.loss, abs=within)
            assert other.withheld_rate == pytest.approx(one.withheld_rate, abs=within)
            assert torch.allclose(other.upload.weights, one.upload.weights, rtol=0, atol=within)
            assert one.upload.buffers.keys() == other.upload.buffers.keys()
            for name, buffer in one.upload.buffers.items():
                assert torch.allclose(other.upload.buffers[name], buffer, rtol=0, atol=within)

    return check
