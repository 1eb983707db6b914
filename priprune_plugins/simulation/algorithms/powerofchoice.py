"""Power-of-choice client selection.

Reference: Cho, Wang, Joshi, "Client Selection in Federated Learning: Convergence Analysis and Power-of-Choice Selection
Strategies", 2020, arXiv:2010.01243, section 3.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from priprune_plugins.errors import ScenarioError
from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.options import Count
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.local_rule import LocalRule

with fedlab_imports():
    from fedlab.contrib.algorithm.powerofchoice import Powerofchoice, PowerofchoiceSerialClientTrainer


@dataclass(frozen=True, eq=False)
class PowerOfChoice(Algorithm):
    """FedAvg over those clients of a drawn set whose loss under the broadcast is highest.

    Each candidate tells the server its loss, which this simulation neither hides nor counts as sent bytes.

    Args:
        candidates: Clients drawn before the choice; at least ``clients_per_round``. None = twice as many.
    """

    candidates: Count | None = None

    trainer_class: ClassVar[type] = PowerofchoiceSerialClientTrainer
    handler_class: ClassVar[type] = Powerofchoice

    def check_clients(self, num_clients: int, clients_per_round: int) -> None:
        if self.candidates is not None and not clients_per_round <= self.candidates <= num_clients:
            raise ScenarioError(
                f"algorithm.candidates must be between clients_per_round ({clients_per_round}) and the number of "
                f"clients ({num_clients}), got {self.candidates}; leave it out for twice clients_per_round"
            )

    def setup_handler(self, handler: Any, training: LocalTraining) -> None:
        self.check_clients(training.num_clients, training.clients_per_round)
        default = min(2 * training.clients_per_round, training.num_clients)
        handler.setup_optim(self.candidates if self.candidates is not None else default)

    def local_rule(self) -> LocalRule:
        return LocalRule()

    def sample(self, handler: Any, trainer: Any, broadcast: Tensor) -> list[int]:
        candidates = handler.sample_candidates()
        losses = trainer.evaluate(candidates, broadcast)
        return sorted(handler.sample_clients(candidates, losses))
