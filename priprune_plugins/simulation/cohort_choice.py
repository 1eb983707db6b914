"""Whether a round's clients train together, and why not where they cannot."""

import logging
from dataclasses import dataclass

import torch
from torch import nn

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.sections import SimulationSection
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.client_round import ClientRunner
from priprune_plugins.simulation.cohort import CohortCrew
from priprune_plugins.simulation.cohort_model import StackedModel
from priprune_plugins.simulation.cohort_rows import Rows
from priprune_plugins.simulation.crew import Crew, OneByOne
from priprune_plugins.simulation.evaluation import train_mode
from priprune_plugins.simulation.local_rule import LocalRule

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CohortChoice:
    """Makes the crew that a scenario asks for.

    Args:
        section: ``cohort: auto`` means together on a GPU, one after another on CPU, where it may be slower and would
            not keep FedLab's bits.
    """

    section: SimulationSection

    def __call__(self, runner: ClientRunner) -> Crew:
        """Return who carries out the visits of ``runner``.

        Raises:
            ScenarioError: ``cohort: true`` with an algorithm or a model that cannot.
        """
        asked = self.section.cohort is True
        on_gpu = runner.seat.weights.device.type == "cuda"
        if not (asked or (self.section.cohort == "auto" and on_gpu)):
            return OneByOne(runner)
        found = rule_or_refusal(runner)
        if isinstance(found, LocalRule):
            return CohortCrew(runner, found, self.section.cohort_size)
        if asked:
            raise _refusal(found)
        _logger.warning("clients train one after another: %s", found)
        return OneByOne(runner)


def check_together(algorithm: Algorithm, name: str) -> None:
    """Refuse ``cohort: true`` with an algorithm that says nothing of its local steps.

    Args:
        algorithm: The algorithm.
        name: What the scenario calls it.

    Raises:
        ScenarioError: Only its own trainer knows them.
    """
    rule = _rule(algorithm, name)
    if isinstance(rule, str):
        raise _refusal(rule)


def rule_or_refusal(runner: ClientRunner) -> LocalRule | str:
    """Return the local steps' rule, or why clients cannot train together."""
    rule = _rule(runner.algorithm, runner.facts.algorithm)
    reason = None if isinstance(rule, str) else _unstackable(runner)
    return rule if reason is None else f"the model cannot be stacked: {reason}"


def _rule(algorithm: Algorithm, name: str) -> LocalRule | str:
    rule = algorithm.local_rule()
    if rule is None or not _of_this_trainer(algorithm):
        return f"only the trainer of algorithm {name} knows what its local steps compute"
    return rule


def _refusal(reason: str) -> ScenarioError:
    return ScenarioError(f"simulation.cohort must be auto or false here, got true: {reason}; set it to auto")


def _of_this_trainer(algorithm: Algorithm) -> bool:
    """Whether the class that states the rule has the very trainer that is used."""
    made = type(algorithm)
    stating = next(cls for cls in made.__mro__ if "local_rule" in vars(cls))
    return getattr(stating, "trainer_class", None) is made.trainer_class


def _unstackable(runner: ClientRunner) -> str | None:
    """Return why two stacked clients cannot make a step, by trying it on the public mean image."""
    model, facts = runner.trainer.model, runner.facts
    drawing = [name for name, module in model.named_modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    if drawing:
        return f"module {drawing[0]} draws random numbers"
    rows = Rows(model, 2)
    rows.weights.copy_(runner.initial)
    images = facts.mean_image.to(rows.weights).expand(2, 2, *facts.image_shape)
    labels = torch.zeros(2, 2, dtype=torch.int64, device=images.device)
    try:
        with train_mode(model):
            StackedModel(model, facts.layout).gradients(rows.weights, rows.buffers, images, labels)
    except RuntimeError as error:
        return str(error).strip().split("\n")[0]
    return None
