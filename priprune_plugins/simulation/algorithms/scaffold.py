"""SCAFFOLD.

Reference: Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled Averaging for Federated
Learning", ICML 2020, arXiv:1910.06378, Algorithm 1, option II.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.messages import Client
from priprune_plugins.options import Positive
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.codecs import Codec
from priprune_plugins.simulation.local_rule import LocalRule

with fedlab_imports():
    from fedlab.contrib.algorithm.scaffold import ScaffoldSerialClientTrainer, ScaffoldServerHandler


class _Corrected(LocalRule):
    """SGD along ``g - c_i + c``; the trainer's own control variates are read and moved."""

    def offset(self, trainer: Any, payload: Sequence[Tensor], client_id: int) -> Tensor | None:
        variate = trainer.cs[client_id]
        return payload[1] if variate is None else payload[1] - variate

    def pack(self, trainer: Any, payload: Sequence[Tensor], client: Client, lr: float) -> list[Tensor]:
        """Return ``dy`` and ``dc`` of option II, and add ``dc`` to the client's own variate."""
        update = client.vector - client.received
        change = update.mul(-1.0 / (client.num_steps * lr)).sub_(payload[1])
        variate = trainer.cs[client.client_id]
        trainer.cs[client.client_id] = change.clone() if variate is None else variate.add_(change)
        return [update, change]


@dataclass(frozen=True, eq=False)
class Scaffold(Algorithm):
    """FedAvg with control variates; an upload holds the update and the change ``dc`` of the client's variate.

    ``dc`` alone gives the whole update back (``update = -(dc + c) * steps * lr``), so it is withheld with the same
    mask, and the client's own variate keeps its old value there: the server's variate stays the mean of all of them.

    Args:
        server_lr: Step of the server along the mean update, above 0.
    """

    server_lr: Positive = 1.0

    codec: ClassVar[Codec] = Codec(form="update", extras=("dc",), vectors=frozenset({"dc"}), uniform=frozenset({"dc"}))
    stateful: ClassVar[bool] = True
    trainer_class: ClassVar[type] = ScaffoldSerialClientTrainer
    handler_class: ClassVar[type] = ScaffoldServerHandler

    def setup_handler(self, handler: Any, training: LocalTraining) -> None:
        handler.setup_optim(self.server_lr)

    def held(self, trainer: Any, client_id: int) -> dict[str, Any]:
        variate = trainer.cs[client_id]
        return {} if variate is None else {"c": variate}

    def restore(self, trainer: Any, client_id: int, memory: Mapping[str, Any]) -> None:
        trainer.cs[client_id] = memory.get("c")

    def corrected(self, pack: list[Tensor], client: Client, training: LocalTraining) -> list[Tensor]:
        """Take the jump from the broadcast to a composite start out of ``dc``: no gradient made it."""
        if client.start is client.received:
            return pack
        jump = (client.start - client.received).div_(client.num_steps * training.lr)
        return [pack[0], pack[1] + jump]

    def edited(
        self, extras: Mapping[str, Tensor], change: Tensor, client: Client, training: LocalTraining
    ) -> Mapping[str, Tensor]:
        """Move ``dc`` with the update: left as it was, it would give the unedited weights back."""
        return {**extras, "dc": extras["dc"] - change / (client.num_steps * training.lr)}

    def local_rule(self) -> LocalRule:
        return _Corrected()

    def known_offset(self, trainer: Any, payload: Sequence[Tensor], client_id: int) -> Tensor | None:
        """Return ``c - c_i``: the server broadcasts ``c``, and ``c_i`` is the sum of what that client has sent."""
        variate = trainer.cs[client_id]
        return payload[1].clone() if variate is None else payload[1] - variate

    def settle(self, trainer: Any, client_id: int, memory: dict[str, Any], pack: list[Tensor], sent: Tensor) -> None:
        before = memory.get("c", torch.zeros_like(pack[1]))
        trainer.cs[client_id] = torch.where(sent, before + pack[1], before)
