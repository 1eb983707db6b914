"""A pruner that breaks the contract is told how."""

import random
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from priprune_plugins import Client, Rate, Server, hookimpl
from priprune_plugins.masks import keep_highest
from priprune_plugins.testing import check_pruner
from priprune_plugins.testing.stand_ins import OneMask


@dataclass(frozen=True, eq=False)
class Good:
    rate: Rate = 0.3

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        self.prune(server)

    def prune(self, server: Server) -> None:
        scores = torch.rand(server.layout.num_parameters, generator=server.generator(self))
        server.mask = keep_highest(scores, server.layout.prunable, self.rate)


@dataclass(frozen=True, eq=False)
class Biases(Good):
    def prune(self, server: Server) -> None:
        server.mask = keep_highest(server.weights.abs(), torch.ones_like(server.layout.prunable), self.rate)


@dataclass(frozen=True, eq=False)
class OneTooMany(Good):
    def prune(self, server: Server) -> None:
        super().prune(server)
        assert server.mask is not None
        server.mask[torch.nonzero(server.layout.prunable & server.mask)[0]] = False


@dataclass(frozen=True, eq=False)
class GlobalNoise(Good):
    def prune(self, server: Server) -> None:
        server.mask = keep_highest(torch.rand(server.layout.num_parameters), server.layout.prunable, self.rate)


@dataclass(frozen=True, eq=False)
class PythonNoise(Good):
    def prune(self, server: Server) -> None:
        random.random()
        super().prune(server)


@dataclass(frozen=True, eq=False)
class Never(Good):
    def prune(self, server: Server) -> None:
        pass


@dataclass(frozen=True, eq=False)
class EvalMode(Good):
    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        client.model.eval()


@dataclass(frozen=True, eq=False)
class LeavesGrad(Good):
    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        images, labels = client.batches[0]
        torch.nn.functional.cross_entropy(client.model(images), labels).backward()


@dataclass(frozen=True, eq=False)
class WritesReceived(Good):
    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        client.received.mul_(2)


@dataclass(frozen=True)
class Equal(Good):
    pass


@dataclass(frozen=True, eq=False)
class WrongDefault(Good):
    rate: Rate = 1.5


class Undecorated(Good):
    @hookimpl
    def on_round_strat(self, server: Server) -> None:
        pass


def test_a_right_pruner_passes() -> None:
    check_pruner(Good(), promises_rate=True)
    check_pruner(OneMask())


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Biases(0.6), "Biases removes 1 of 0.bias: choose among layout.prunable only"),
        (OneTooMany(), "OneTooMany removes 619 of 2060 prunable weights, rate 0.3 asks for 618"),
        (GlobalNoise(), "GlobalNoise changed torch's global generator (use client.generator or server.generator)"),
        (PythonNoise(), "PythonNoise changed Python's global generator"),
        (Never(), "Never set no mask in 3 rounds"),
        (EvalMode(), "EvalMode changed train or eval mode of the model in on_local_train_end"),
        (LeavesGrad(), "LeavesGrad changed the parameters' .grad in on_local_train_end"),
        (
            WritesReceived(),
            "pruner WritesReceived wrote to client.received in on_local_train_start, which is read-only",
        ),
        (Equal(), "Equal must have eq=False"),
        (WrongDefault(), "pruner.rate must be in [0, 1), got 1.5"),
        (Undecorated(), "implements on_round_strat, which is no hook"),
        (Good, "give an instance"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pruner_that_breaks_the_contract_is_told_how(plugin: Any, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_pruner(plugin, promises_rate=True)
    assert message in str(caught.value)
