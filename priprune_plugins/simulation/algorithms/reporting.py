"""Local SGD whose upload tells more than the weights."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.messages import Client
from priprune_plugins.simulation.local_rule import LocalRule

with fedlab_imports():
    from fedlab.contrib.algorithm.basic_client import SGDSerialClientTrainer


class ReportingTrainer(SGDSerialClientTrainer):  # type: ignore[misc]
    """FedAvg's trainer; what stands behind the weights in the payload stands behind those in the upload too.

    What a client finds out before its training, from the broadcast, comes in that way: see
    :meth:`~priprune_plugins.simulation.algorithm.Algorithm.prepared`.
    """

    cache: list[list[Tensor]]

    def local_process(self, payload: Sequence[Tensor], id_list: Sequence[int]) -> None:
        super().local_process(payload, id_list)
        self.cache = [[*pack, *payload[1:]] for pack in self.cache]


class ReportingRule(LocalRule):
    """The same, said of its steps."""

    def pack(self, trainer: Any, payload: Sequence[Tensor], client: Client, lr: float) -> list[Tensor]:
        return [client.weights.clone(), *payload[1:]]
