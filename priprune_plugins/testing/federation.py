"""A small real federation to try a plugin in: FedLab, scikit-learn's digits, a conv net with biases and norms."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from priprune_plugins.data.digits import Digits
from priprune_plugins.data.federation import FederatedImages, federate
from priprune_plugins.generators import seeded_globals
from priprune_plugins.layout import Layout
from priprune_plugins.masks import applied
from priprune_plugins.messages import Facts, Server
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.scenario.sections import AggregationSection, DataSection
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.setting import Setting

CLIENTS, PER_ROUND, LR, SEED = 4, 3, 0.1, 7
_ALGORITHMS: dict[str, type[Algorithm]] = {"fedavg": FedAvg, "scaffold": Scaffold}


@dataclass(frozen=True, eq=False)
class Played:
    """What some rounds left behind.

    Args:
        server: The server after the last round.
        masks: The server's mask of each round that had one.
        sent: Every upload, round by round in client order.
    """

    server: Server
    masks: Sequence[Tensor]
    sent: Sequence[Sent]

    def fingerprint(self) -> list[Tensor]:
        """Return every tensor that must be the same when the same rounds are played again."""
        uploads = [sent.upload for sent in self.sent]
        shared = [upload.shared for upload in uploads if upload.shared is not None]
        seen = [applied(sent.upload.weights, sent.present) for sent in self.sent]
        return [self.server.weights, *self.masks, *seen, *shared]


def small_net() -> nn.Module:
    """Return a conv net for 1x14x14 and 10 classes, weights from a fixed stream, with biases and a group norm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return nn.Sequential(
            nn.Conv2d(1, 4, 5, padding=2),
            nn.GroupNorm(2, 4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * 7 * 7, 10),
        )


@cache
def small_data() -> FederatedImages:
    """Return 240 digits of 14x14 over four clients, with validation parts and a public set."""
    section = DataSection(clients=CLIENTS, partition="iid", validation=0.2, public=20)
    return federate(Digits(size=14, train=240, test=60).load(), section, SEED)


def play(
    registered: Sequence[Registered],
    rounds: int = 2,
    batch_size: int = 8,
    steps: int = 2,
    algorithm: Literal["fedavg", "scaffold"] = "fedavg",
    global_seed: int = 0,
) -> Played:
    """Play whole rounds with plugins.

    Args:
        registered: Plugins in hook order.
        rounds: Rounds to play.
        batch_size: Images a step.
        steps: Local steps.
        algorithm: ``scaffold`` sends a second parameter-sized tensor.
        global_seed: Where the global generators stand before; no plugin's result may depend on it.
    """
    federation = _federation(PluginHost(registered), rounds, batch_size, steps, _ALGORITHMS[algorithm]())
    masks: list[Tensor] = []
    sent: list[Sent] = []
    with seeded_globals(global_seed, "whatever stood before"):
        federation.setup()
        for round_idx in range(rounds):
            received = federation.train(federation.start_round(round_idx))
            federation.aggregate(received)
            sent += received
            masks += [] if federation.server.mask is None else [federation.server.mask.clone()]
        federation.test_client(0)
    return Played(federation.server, masks, sent)


def _federation(host: PluginHost, rounds: int, batch_size: int, steps: int, algorithm: Algorithm) -> Federation:
    model, data = small_net(), small_data()
    facts = Facts(
        build_model=small_net,
        layout=Layout.of(model),
        image_shape=data.data.image_shape,
        num_classes=data.data.num_classes,
        lr=LR,
        batch_size=batch_size,
        local_steps=steps,
        epochs=None,
        algorithm="contract",
        mean_image=data.mean_image,
    )
    setting = Setting(
        algorithm=algorithm,
        training=LocalTraining(1, batch_size, LR, PER_ROUND, CLIENTS),
        steps=steps,
        rounds=rounds,
        model=model,
        data=data,
        facts=facts,
        host=host,
        aggregation=AggregationSection(),
        absent="previous",
        seed=SEED,
    )
    return Federation(setting)
