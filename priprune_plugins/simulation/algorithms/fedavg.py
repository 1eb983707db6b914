"""FedAvg.

Reference: McMahan, Moore, Ramage, Hampson, Agueera y Arcas, "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017, arXiv:1602.05629, Algorithm 1.
"""

from dataclasses import dataclass
from typing import ClassVar

from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.local_rule import LocalRule

with fedlab_imports():
    from fedlab.contrib.algorithm.fedavg import FedAvgSerialClientTrainer, FedAvgServerHandler


@dataclass(frozen=True, eq=False)
class FedAvg(Algorithm):
    """Weighted mean of the clients' weights; FedLab's own mean is unweighted: ``aggregation.weighting: uniform``."""

    trainer_class: ClassVar[type] = FedAvgSerialClientTrainer
    handler_class: ClassVar[type] = FedAvgServerHandler

    def local_rule(self) -> LocalRule:
        return LocalRule()
