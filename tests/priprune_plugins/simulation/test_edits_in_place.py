"""The host reads the weights again where a hook has taken hold of them, and only there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from torch import Tensor

from priprune_plugins import Client, hookimpl
from priprune_plugins.plugins import Registered
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
    early, late = (
        uploaded(federation(plugins=(Registered("defenses", "h", "defenses[0]:h", Halves(by, at)),)))
        for at in ("start", "end")
    )
    assert torch.equal(early[1], early[2] * 0.5)
    assert torch.equal(late[0], plain[0] * 0.5)
    assert torch.equal(late[1], late[2])


def test_hooks_that_touch_nothing_leave_the_bytes(federation: Callable[..., Federation], algorithm: Algorithm) -> None:
    plugins = (Registered("defenses", "h", "defenses[0]:h", Halves("nothing", "end")),)
    (plain, *_), (idle, *_) = uploaded(federation(algorithm)), uploaded(federation(algorithm, plugins))
    assert torch.equal(idle, plain)
