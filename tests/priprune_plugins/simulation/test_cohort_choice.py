"""Who is asked to train a round's clients, and what is said where they cannot train together."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from priprune_plugins import ScenarioError
from priprune_plugins.scenario.sections import SimulationSection
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.pair import FedLabPair
from priprune_plugins.simulation.cohort import CohortCrew
from priprune_plugins.simulation.cohort_choice import CohortChoice, rule_or_refusal
from priprune_plugins.simulation.crew import OneByOne
from priprune_plugins.simulation.federation import Federation

PAIR = FedLabPair(
    "fedlab.contrib.algorithm.fedavg:FedAvgSerialClientTrainer", "fedlab.contrib.algorithm.fedavg:FedAvgServerHandler"
)


class OtherTrainer(FedAvg.trainer_class):  # type: ignore[misc]
    """Trains in a way of its own."""


@dataclass(frozen=True, eq=False)
class Inherits(FedAvg):
    """An algorithm that has another trainer than the class that it takes the rule from."""

    trainer_class: ClassVar[type] = OtherTrainer


class Drawing(nn.Module):
    """Adds noise from the global generator."""

    def forward(self, features: Tensor) -> Tensor:
        return features + torch.rand_like(features)


def with_module(module: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), module, nn.Linear(196, 10))


@pytest.mark.parametrize("cohort", ["auto", False])
def test_clients_train_one_after_another_on_cpu(federation: Callable[..., Federation], cohort: object) -> None:
    runner = federation().runner
    assert isinstance(CohortChoice(SimulationSection(cohort=cohort))(runner), OneByOne)  # type: ignore[arg-type]


def test_a_cohort_that_is_asked_for_is_made(federation: Callable[..., Federation]) -> None:
    assert isinstance(CohortChoice(SimulationSection(cohort=True))(federation().runner), CohortCrew)


@pytest.mark.parametrize("algorithm", [PAIR, Inherits()])
def test_an_algorithm_whose_steps_are_unknown_is_refused_by_name(
    federation: Callable[..., Federation], algorithm: Algorithm
) -> None:
    runner = federation(algorithm).runner
    runner.facts = replace(runner.facts, algorithm="mine")
    with pytest.raises(
        ScenarioError, match="cohort must be auto or false here, got true: only the trainer of algorithm mine knows"
    ):
        CohortChoice(SimulationSection(cohort=True))(runner)


@pytest.mark.parametrize(
    ("module", "reason"),
    [(nn.Dropout(0.5), "module 1 draws random numbers"), (Drawing(), "random"), (nn.BatchNorm1d(196), None)],
)
def test_a_model_that_draws_random_numbers_is_refused(
    federation: Callable[..., Federation], module: nn.Module, reason: str | None
) -> None:
    runner = federation(model=with_module(module)).runner
    before = torch.random.get_rng_state(), [buffer.clone() for buffer in runner.trainer.model.buffers()]
    found = rule_or_refusal(runner)
    assert isinstance(found, str) is (reason is not None)
    assert reason is None or reason in str(found)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    for buffer, was in zip(runner.trainer.model.buffers(), before[1], strict=True):
        assert torch.equal(buffer, was)


def test_a_gpu_run_that_cannot_says_why_and_goes_on(
    federation: Callable[..., Federation], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runner = federation(PAIR).runner
    monkeypatch.setattr(runner, "seat", replace(runner.seat, weights=_OnGpu()))
    with caplog.at_level(logging.WARNING):
        crew = CohortChoice(SimulationSection())(runner)
    assert isinstance(crew, OneByOne)
    assert "clients train one after another: only the trainer of algorithm test" in caplog.text


class _OnGpu:
    device = torch.device("cuda")
