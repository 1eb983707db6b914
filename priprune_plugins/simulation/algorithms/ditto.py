"""Ditto.

Reference: Li, Hu, Beirami, Smith, "Ditto: Fair and Robust Federated Learning Through Personalization", ICML 2021,
arXiv:2012.04221, Algorithm 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.layout import Layout
from priprune_plugins.masks import apply_
from priprune_plugins.messages import Batch
from priprune_plugins.options import Count, NonNegative, Positive
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.steps import Steps

with fedlab_imports():
    from fedlab.contrib.algorithm.basic_client import SGDSerialClientTrainer
    from fedlab.contrib.algorithm.fedavg import FedAvgServerHandler


class DittoTrainer(SGDSerialClientTrainer):  # type: ignore[misc]
    """FedAvg's training and then the personal one; FedLab 1.3.0's own does not run.

    The personal steps use no optimiser and no module of their own: neither a plugin's hook on the training's steps nor
    a batch-norm statistic meets them.
    """

    steps: Steps | None = None

    def setup_optim(
        self,
        epochs: int,
        batch_size: int,
        lr: float,
        pull: float,
        personal_steps: int | None,
        personal_lr: float,
    ) -> None:
        """Set the local training; see :class:`Ditto` for the options."""
        super().setup_optim(epochs, batch_size, lr)
        # The host wraps the other one to record the losses of what is sent.
        self.personal_criterion = self.criterion
        self.pull, self.personal_steps, self.personal_lr = pull, personal_steps, personal_lr
        self.personal: list[Tensor | None] = [None] * self.num_clients

    def local_process(self, payload: Sequence[Tensor], id_list: Sequence[int]) -> None:
        super().local_process(payload, id_list)
        for client_id in id_list:
            loader = self.dataset.get_dataloader(client_id, self.batch_size)
            before = self.personal[client_id]
            weights = payload[0].clone() if before is None else before.to(payload[0].device, copy=True)
            self.personal[client_id] = self._personalised(weights, payload[0], loader)

    def _personalised(self, weights: Tensor, received: Tensor, loader: Any) -> Tensor:
        layout = Layout.of(self._model)
        mask = None if self.steps is None else self.steps.mask
        apply_(weights, mask)
        for batch in self._batches(loader):
            gradient = self._gradient(weights, layout, batch).add_(weights - received, alpha=self.pull)
            apply_(weights.sub_(gradient, alpha=self.personal_lr), mask)
        return weights

    def _batches(self, loader: Any) -> Iterator[Batch]:
        count = self.epochs * len(loader) if self.personal_steps is None else self.personal_steps
        return islice(chain.from_iterable(repeat(loader)), count)

    def _gradient(self, weights: Tensor, layout: Layout, batch: Batch) -> Tensor:
        point = weights.detach().requires_grad_()
        parts = zip(layout.names, layout.shapes, torch.split(point, list(layout.sizes)), strict=True)
        values = {name: part.view(shape) for name, shape, part in parts}
        buffers = {name: buffer.clone() for name, buffer in self._model.named_buffers()}
        images, labels = batch
        loss = self.personal_criterion(functional_call(self._model, {**values, **buffers}, (images,)), labels)
        (gradient,) = torch.autograd.grad(loss, point)
        return gradient


@dataclass(frozen=True, eq=False)
class Ditto(Algorithm):
    """FedAvg, and beside it a model of each client's own, ``v_k``, which never leaves the client.

    After a round's training a client makes steps ``v -= lr * (grad F(v) + pull * (v - w_broadcast))``. They follow the
    training of what is sent, on the same batches where ``local_steps`` are counted and on newly shuffled passes under
    ``epochs``, and change no bit of it: what is sent is FedAvg's, and so is all that leaks. A client that has not taken
    part yet has no ``v_k`` of its own; the first one is the broadcast that it receives then. ``v_k`` is pruned by the
    client's base mask and is what the client's accuracy is measured with. Batch-norm statistics are those of the
    broadcast, here and there: ``v_k`` has none of its own.

    Args:
        pull: The paper's lambda, how strongly ``v_k`` is held to the broadcast; 0 = trained alone.
        personal_steps: The paper's ``s``, steps of ``v_k`` a round; None = as many as the client's other ones.
        personal_lr: Their learning rate; None = ``lr``.
    """

    pull: NonNegative = 0.1
    personal_steps: Count | None = None
    personal_lr: Positive | None = None

    stateful: ClassVar[bool] = True
    trainer_class: ClassVar[type] = DittoTrainer
    handler_class: ClassVar[type] = FedAvgServerHandler

    def setup_trainer(self, trainer: Any, training: LocalTraining) -> None:
        lr = training.lr if self.personal_lr is None else self.personal_lr
        trainer.setup_optim(
            training.epochs, training.batch_size, training.lr, self.pull, self.personal_steps, personal_lr=lr
        )

    def held(self, trainer: Any, client_id: int) -> dict[str, Any]:
        personal = trainer.personal[client_id]
        return {} if personal is None else {"personal": personal}

    def restore(self, trainer: Any, client_id: int, memory: Mapping[str, Any]) -> None:
        trainer.personal[client_id] = memory.get("personal")

    def personal(self, memory: Mapping[str, Any]) -> Tensor | None:
        return memory.get("personal")
