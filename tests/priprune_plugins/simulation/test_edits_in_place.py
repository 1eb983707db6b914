"""The host reads the weights again where a hook has taken hold of them, and only there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from torch import Tensor

from priprune_plugins import Client, hookimpl
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.federation import Federation

By = Literal["weights", "model", "assignment", "kept", "nothing"]


@dataclass(frozen=True, eq=False)
class Halves:
    """Halves the weights before training or after it, in each way in which a plugin can."""

    by: By
    at: Literal["start", "end"]

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        if self.by == "kept":
            client.state(self)["vector"] = client.weights
        if self.at == "start":
            self._halve(client)

    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        if self.at == "end":
            self._halve(client)

    def _halve(self, client: Client) -> None:
        if self.by == "weights":
            client.weights.mul_(0.5)
        elif self.by == "assignment":
            client.weights = client.vector * 0.5
        elif self.by == "kept":
            client.state(self)["vector"].mul_(0.5)
        elif self.by == "model":
            for parameter in client.model.parameters():
                parameter.data.mul_(0.5)


def uploaded(federated: Federation) -> tuple[Tensor, Tensor, Tensor]:
    federated.start_round(0)
    kept: list[tuple[Tensor, Tensor]] = []
    (sent,) = federated.train([1], lambda one: kept.append((one.start.clone(), one.received)))
    ((start, received),) = kept
    return sent.upload.weights, start, received


@pytest.mark.parametrize("by", ["weights", "model", "assignment", "kept"])
def test_an_edit_in_place_is_seen_however_it_is_made(federation: Callable[..., Federation], by: By) -> None:
    plain = uploaded(federation())
    early, late = (uploaded(federation(defense=Halves(by, at))) for at in ("start", "end"))
    assert torch.equal(early[1], early[2] * 0.5)
    assert torch.equal(late[0], plain[0] * 0.5)
    assert torch.equal(late[1], late[2])


@dataclass(frozen=True, eq=False)
class Composed:
    """Takes half of every second value of the broadcast, and looks at the weights, or the model, or neither."""

    looks_at: Literal["weights", "model", "loss", "nothing"]

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        client.compose(client.received * 0.5, torch.arange(client.received.numel()) % 2 == 0)
        if self.looks_at == "weights":
            client.state(self)["sum"] = float(client.weights.sum())
        elif self.looks_at == "model":
            client.state(self)["sum"] = sum(float(p.detach().sum()) for p in client.model.parameters())
        elif self.looks_at == "loss":
            client.evaluate("train")


@pytest.mark.parametrize("looks_at", ["weights", "model", "loss", "nothing"])
def test_composed_weights_are_what_everybody_sees_and_what_training_starts_from(
    federation: Callable[..., Federation], looks_at: Literal["weights", "model", "loss", "nothing"]
) -> None:
    plugin = Composed(looks_at)
    federated = federation(defense=plugin)
    weights, start, received = uploaded(federated)
    even = torch.arange(received.numel()) % 2 == 0
    assert torch.equal(start, torch.where(even, received * 0.5, received))
    edited, *_ = uploaded(federation(defense=HalvesEven()))
    assert torch.equal(weights, edited)
    if looks_at in ("weights", "model"):
        seen = federated.states.of(plugin, 1)["sum"]
        assert seen == pytest.approx(float(start.sum()), abs=1e-4)


@dataclass(frozen=True, eq=False)
class HalvesEven:
    """Makes the same edit as ``Composed``, in the live weights."""

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        client.weights[::2] *= 0.5


def test_hooks_that_touch_nothing_leave_the_bytes(federation: Callable[..., Federation], algorithm: Algorithm) -> None:
    untouched = federation(algorithm, defense=Halves("nothing", "end"))
    (plain, *_), (idle, *_) = uploaded(federation(algorithm)), uploaded(untouched)
    assert torch.equal(idle, plain)
