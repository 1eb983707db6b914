"""A small real federation: digits over 12 clients and a conv net with biases."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from priprune_plugins.data.digits import Digits
from priprune_plugins.data.federation import FederatedImages, federate
from priprune_plugins.layout import Layout
from priprune_plugins.messages import Facts
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.scenario.sections import AggregationSection, DataSection
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.fednova import FedNova
from priprune_plugins.simulation.algorithms.fedprox import FedProx
from priprune_plugins.simulation.algorithms.powerofchoice import PowerOfChoice
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.setting import Setting

CLIENTS, SAMPLED = 12, 10
ALGORITHMS: dict[str, Callable[[], Algorithm]] = {
    "fedavg": FedAvg,
    "fedprox": lambda: FedProx(mu=0.1),
    "scaffold": Scaffold,
    "fednova": FedNova,
    "powerofchoice": lambda: PowerOfChoice(candidates=12),
}


@pytest.fixture(scope="session")
def data() -> FederatedImages:
    return federate(Digits(size=14).load(), DataSection(clients=CLIENTS, partition="iid"), seed=3)


def small_net() -> nn.Module:
    """1x14x14 to 10 classes, weights drawn from a fixed stream."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(
            nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(196, 10)
        )


@pytest.fixture
def federation(data: FederatedImages) -> Callable[..., Federation]:
    """Build a federation; keyword arguments replace the defaults; ``pruner`` and ``defense`` run before ``plugins``."""

    def build(
        algorithm: Algorithm | None = None,
        plugins: tuple[Registered, ...] = (),
        steps: int | None = 2,
        model: nn.Module | None = None,
        absent: Any = "previous",
        epochs: int = 1,
        pruner: object | None = None,
        defense: object | None = None,
        **aggregation: Any,
    ) -> Federation:
        first = () if pruner is None else (Registered("pruners", "p", "pruner:p", pruner),)
        second = () if defense is None else (Registered("defenses", "d", "defenses[0]:d", defense),)
        net = model or small_net()
        facts = Facts(
            build_model=small_net,
            layout=Layout.of(net),
            image_shape=(1, 14, 14),
            num_classes=10,
            lr=0.1,
            batch_size=20,
            local_steps=steps,
            epochs=None if steps else epochs,
            algorithm="test",
            mean_image=data.mean_image,
        )
        return Federation(
            Setting(
                algorithm=algorithm or FedAvg(),
                training=LocalTraining(
                    epochs=epochs, batch_size=20, lr=0.1, clients_per_round=SAMPLED, num_clients=CLIENTS
                ),
                steps=steps,
                rounds=3,
                model=net,
                data=data,
                facts=facts,
                host=PluginHost((*first, *second, *plugins)),
                aggregation=AggregationSection(**aggregation),
                absent=absent,
                seed=7,
            )
        )

    return build


@pytest.fixture
def one_round() -> Callable[[Federation, int], list[Sent]]:
    """Run one whole round and return what the clients sent."""

    def run(federation: Federation, round_idx: int) -> list[Sent]:
        received = federation.train(federation.start_round(round_idx))
        federation.aggregate(received)
        return received

    return run


@pytest.fixture(params=sorted(ALGORITHMS))
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    """Each of FedLab's five working algorithms."""
    return ALGORITHMS[request.param]()


@pytest.fixture
def net() -> Callable[[], nn.Module]:
    """Build the small net with its fixed weights."""
    return small_net
