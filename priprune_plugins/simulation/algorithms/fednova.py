"""FedNova.

Reference: Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in Heterogeneous Federated
Optimization", NeurIPS 2020, arXiv:2007.07481, equation 9.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.messages import Client
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.codecs import Codec
from priprune_plugins.simulation.local_rule import LocalRule

with fedlab_imports():
    from fedlab.contrib.algorithm.fednova import FedNovaSerialClientTrainer, FedNovaServerHandler


class _Counted(LocalRule):
    """SGD whose upload tells its number of steps."""

    def pack(self, trainer: Any, payload: Sequence[Tensor], client: Client, lr: float) -> list[Tensor]:
        # In single precision whatever the weights', as FedLab makes it.
        steps = torch.full((1,), client.num_steps, dtype=torch.float32, device=client.vector.device)
        return [client.vector.clone(), steps]


@dataclass(frozen=True, eq=False)
class FedNova(Algorithm):
    """Updates normalised by each client's number of local steps, which the upload reveals as ``tau``.

    Args:
        option: FedLab's rule of the mean. Its own default ``weighted_scale`` multiplies the step by clients / sampled
            clients and diverges; ``uniform`` and ``weighted_com`` do not, and differ only where clients make different
            numbers of steps. ``aggregation.weighting`` acts on ``uniform``, the only rule that takes FedLab's mean.
    """

    option: Literal["uniform", "weighted_com", "weighted_scale"] = "uniform"

    codec: ClassVar[Codec] = Codec(extras=("tau",))
    trainer_class: ClassVar[type] = FedNovaSerialClientTrainer
    handler_class: ClassVar[type] = FedNovaServerHandler

    def local_rule(self) -> LocalRule:
        return _Counted()

    def needs_single_uploads(self, steps: int | None, weighting: str) -> str | None:
        """Return that each update is divided by its own number of steps, where these differ."""
        if steps is None:
            return "fednova divides each update by its client's own steps; set algorithm.local_steps, not epochs"
        if self.option != "uniform" and weighting != "uniform":
            return f"fednova's option {self.option} ignores samples; set aggregation.weighting: uniform, or its option"
        return None

    def setup_handler(self, handler: Any, training: LocalTraining) -> None:
        handler.setup_optim(self.option)
