"""Small nets, the oracles of the official code, and a federation of real Client and Server objects."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from priprune_plugins.generators import derived_seed
from priprune_plugins.layout import Layout
from priprune_plugins.masks import applied, apply_
from priprune_plugins.messages import Client, Evaluation, Facts, LabelledSet, Server, Upload

SHAPE, CLASSES = (1, 8, 8), 4


def with_batch_norm() -> nn.Module:
    conv = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(
        *conv, nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, CLASSES)
    )


def lenet_300_100() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 10), nn.ReLU(), nn.Linear(10, CLASSES)
    )


def convnet() -> nn.Module:
    convs = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*convs, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, CLASSES))


NETS: dict[str, Callable[[], nn.Module]] = {f.__name__: f for f in (with_batch_norm, lenet_300_100, convnet)}


@pytest.fixture(params=NETS.values(), ids=NETS)
def net(request: pytest.FixtureRequest) -> Callable[[], nn.Module]:
    """A builder of one of the three small models."""
    return request.param


@pytest.fixture
def net_builder() -> Callable[[], nn.Module]:
    """A builder of the small convnet."""
    return convnet


@pytest.fixture(scope="session")
def oracle(shared: Path) -> Callable[[str], Mapping[str, np.ndarray]]:
    """Opens ``<name>.npz`` of the official results."""
    return lambda name: np.load(shared / "oracles" / f"{name}.npz", allow_pickle=False)


@dataclass
class Federation:
    """One pruner on a few clients: the host's round, SGD and a mean over holders, nothing else.

    ``withhold`` gives the coordinates that each upload leaves out.
    """

    pruner: Any
    build: Callable[[], nn.Module]
    seed: int = 0
    num_clients: int = 3
    num_steps: int = 1
    rounds: int = 40
    lr: float = 0.1
    public: LabelledSet | None = None
    validation_accuracy: float = 1.0
    withhold: Callable[[int, int], Tensor] | None = None
    states: dict[int | None, dict[str, Any]] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    masks: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        model = self.fresh_model()
        self.layout = Layout.of(model)
        weights = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
        self.facts = Facts(
            self.fresh_model,
            self.layout,
            SHAPE,
            CLASSES,
            self.lr,
            8,
            self.num_steps,
            None,
            "fedavg",
            torch.zeros(SHAPE),
            rounds=self.rounds,
        )
        self.initial = weights.clone()
        self.server = Server(self.facts, weights, self.public, self._state, self._server_generator)

    def fresh_model(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return self.build()

    def _state(self, plugin: object, client_id: int | None = None) -> dict[str, Any]:
        return self.states.setdefault(client_id, {})

    def _server_generator(self, plugin: object, round_idx: int) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(self.seed, "server", round_idx))

    def batches(self, client_id: int, round_idx: int) -> list[tuple[Tensor, Tensor]]:
        stream = torch.Generator().manual_seed(derived_seed(self.seed, client_id, round_idx))
        draw = lambda: (torch.rand(8, *SHAPE, generator=stream), torch.randint(CLASSES, (8,), generator=stream))  # noqa: E731
        return [draw() for _ in range(self.num_steps)]

    def client(self, client_id: int, round_idx: int) -> Client:
        received = applied(self.server.weights, self.server.mask).clone()
        model = self.fresh_model()
        weights = received.clone()
        with torch.no_grad():
            for parameter, part in zip(model.parameters(), self.layout.unflatten(weights).values(), strict=True):
                parameter.data = part
        return Client(
            client_id, round_idx, self.num_steps, 8 * self.num_steps, self.facts, received, weights, self.server.mask,
            model, self.batches(client_id, round_idx), lambda plugin: self._state(plugin, client_id),
            lambda plugin: torch.Generator().manual_seed(derived_seed(self.seed, "c", client_id, round_idx)),
            lambda split: Evaluation(0.0, self.validation_accuracy, 10), initial=self.initial,
        )  # fmt: skip

    def call(self, hook: str, *arguments: object) -> None:
        if hasattr(self.pruner, hook):
            getattr(self.pruner, hook)(*arguments)

    def setup_round(self) -> "Federation":
        for client_id in range(self.num_clients):
            client = self.client(client_id, -1)
            self.call("on_setup_round", client)
            self.receive(client, None)
        return self

    def train(self, client: Client) -> None:
        self.call("on_local_train_start", client)
        apply_(client.weights, client.mask)
        client.start = client.weights.clone()
        for images, labels in client.batches:
            leaf = client.weights.clone().requires_grad_()
            loss = cross_entropy(functional_call(client.model, self.layout.unflatten(leaf), images), labels)
            grad = torch.autograd.grad(loss, leaf)[0]
            client.in_step(grad.clone(), lambda grad=grad: grad)
            self.call("on_local_step", client)
            client.in_step(None, None)
            client.weights.sub_(grad, alpha=self.lr)
            apply_(client.weights, client.mask)
            client.step_idx += 1
        self.call("on_local_train_end", client)
        apply_(client.weights, client.mask)

    def receive(self, client: Client, shared: Tensor | None) -> Upload:
        extras = {name: value.clone() for name, value in client.sent.items()}
        if shared is not None:
            for value in extras.values():
                value[~shared] = float("nan") if value.is_floating_point() else not value[~shared].any()
        upload = Upload(
            (client.client_id,), client.round_idx, client.num_samples, client.weights.clone(), shared, extras
        )
        self.uploads.append(upload)
        self.call("on_server_receive", self.server, upload)
        return upload

    def round(self) -> "Federation":
        server = self.server
        self.call("on_round_start", server)
        total, holders = torch.zeros_like(server.weights), torch.zeros_like(server.weights)
        for client_id in range(self.num_clients):
            client = self.client(client_id, server.round_idx)
            self.train(client)
            shared = None if self.withhold is None else ~self.withhold(client_id, server.round_idx)
            upload = self.receive(client, shared)
            self.masks[client_id] = torch.ones_like(self.layout.prunable) if client.mask is None else client.mask
            present = self.masks[client_id] if shared is None else self.masks[client_id] & shared
            total += torch.where(present, upload.weights, 0.0)
            holders += present
        server.weights = torch.where(holders > 0, total / holders.clamp_min(1), server.weights)
        self.call("on_aggregate_end", server)
        server.round_idx += 1
        return self

    def run(self, rounds: int) -> "Federation":
        for _ in range(rounds):
            self.round()
        return self

    def resumed(self) -> "Federation":
        """The federation that a resume makes: weights, round and states come back, every object is new."""
        again = Federation(
            self.pruner, self.build, self.seed, self.num_clients, self.num_steps, self.rounds, self.lr, self.public,
            self.validation_accuracy, self.withhold, deepcopy(self.states),
        )  # fmt: skip
        again.server.weights, again.server.round_idx = self.server.weights.clone(), self.server.round_idx
        return again

    @property
    def num_pruned(self) -> int:
        assert self.server.mask is not None
        return int((~self.server.mask).sum())


@pytest.fixture
def federation() -> type[Federation]:
    return Federation


@pytest.fixture
def untouched() -> Iterator[None]:
    """Fails if the test moved a global random number generator."""
    before = hashlib.sha256(torch.random.get_rng_state().numpy().tobytes()).digest()
    yield
    assert hashlib.sha256(torch.random.get_rng_state().numpy().tobytes()).digest() == before


@pytest.fixture
def public() -> LabelledSet:
    stream = torch.Generator().manual_seed(5)
    return LabelledSet(torch.rand(40, *SHAPE, generator=stream), torch.arange(40) % CLASSES)


@dataclass
class OracleNet:
    """One of the two nets of the score oracles, in float64, with the official scores and masks as flat vectors."""

    model: nn.Module
    data: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        self.model.double()
        self.layout = Layout.of(self.model)
        self.weights = torch.cat([self.tensor(f"in/{name}").reshape(-1) for name in self.layout.names]).double()
        self.images, self.labels = self.tensor("in/x").double(), self.tensor("in/y")

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.data[key])

    def flat(self, prefix: str) -> Tensor:
        names = [name for name in self.layout.names if f"{prefix}/{name}" in self.data]
        return torch.cat([self.tensor(f"{prefix}/{name}").reshape(-1) for name in names])

    def mask(self, method: str) -> Tensor:
        return self.flat(f"{method}/mask").bool()


def _mlp_small() -> nn.Module:
    layers = {
        "fc1": nn.Linear(32, 24),
        "r1": nn.ReLU(),
        "fc2": nn.Linear(24, 16),
        "r2": nn.ReLU(),
        "fc3": nn.Linear(16, 10),
    }
    return nn.Sequential(OrderedDict(layers))


def _convnet() -> nn.Module:
    layers = {
        "conv1": nn.Conv2d(1, 4, 3, padding=1), "r1": nn.ReLU(), "p1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(4, 8, 3, padding=1), "r2": nn.ReLU(), "p2": nn.MaxPool2d(2),
        "flat": nn.Flatten(), "fc1": nn.Linear(32, 16), "r3": nn.ReLU(), "fc2": nn.Linear(16, 10),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers))


@pytest.fixture
def oracle_net(oracle: Callable[[str], Mapping[str, np.ndarray]]) -> Callable[[str], OracleNet]:
    builders = {"scores_mlp_small": _mlp_small, "scores_convnet": _convnet}
    return lambda name: OracleNet(builders[name](), oracle(name))
