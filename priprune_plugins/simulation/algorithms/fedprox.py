"""FedProx.

Reference: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous Networks",
MLSys 2020, arXiv:1812.06127, equation 2.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.messages import Client
from priprune_plugins.options import NonNegative
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.local_rule import LocalRule

with fedlab_imports():
    from fedlab.contrib.algorithm.fedprox import FedProxSerialClientTrainer, FedProxServerHandler


@dataclass(frozen=True, eq=False)
class FedProx(Algorithm):
    """FedAvg with a proximal term ``mu / 2 * |w - w_start|^2`` in each client's loss.

    The term pulls to the weights that training starts from: the broadcast, or the composite that a defence made of it.

    Args:
        mu: Strength of the proximal term, at least 0.
    """

    mu: NonNegative = 0.01

    trainer_class: ClassVar[type] = FedProxSerialClientTrainer
    handler_class: ClassVar[type] = FedProxServerHandler

    def setup_trainer(self, trainer: Any, training: LocalTraining) -> None:
        trainer.setup_optim(training.epochs, training.batch_size, training.lr, self.mu)

    def local_rule(self) -> LocalRule:
        return LocalRule(proximal=self.mu)

    @property
    def proximal(self) -> float:
        return self.mu

    def plain_gradient(self, gradient: Tensor, client: Client) -> Tensor:
        """Subtract the proximal term's gradient ``mu * (w - w_start)``; exact at the first step, where it is 0."""
        if client.step_idx == 0 or self.mu == 0:
            return gradient
        return gradient.sub_(client.weights - client.start, alpha=self.mu)
