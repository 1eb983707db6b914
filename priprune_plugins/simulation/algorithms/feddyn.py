"""FedDyn.

Reference: Acar, Zhao, Matas Navarro, Mattina, Whatmough, Saligrama, "Federated Learning Based on Dynamic
Regularization", ICLR 2021, arXiv:2111.04263, Algorithm 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.masks import applied
from priprune_plugins.options import Positive
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.codecs import Codec
from priprune_plugins.simulation.flat_model import point_at_
from priprune_plugins.simulation.sent import Sent

with fedlab_imports():
    from fedlab.contrib.algorithm.basic_client import SGDSerialClientTrainer
    from fedlab.contrib.algorithm.basic_server import SyncServerHandler
    from fedlab.utils.aggregator import Aggregators


class FedDynTrainer(SGDSerialClientTrainer):  # type: ignore[misc]
    """SGD on equation 1; FedLab 1.3.0's own takes its extra terms outside autograd and so trains as FedAvg."""

    def setup_optim(self, epochs: int, batch_size: int, lr: float, alpha: float) -> None:
        """Set the local training; see :class:`FedDyn` for ``alpha``."""
        super().setup_optim(epochs, batch_size, lr)
        self.alpha = alpha
        self.memories: list[Tensor | None] = [None] * self.num_clients

    def local_process(self, payload: Sequence[Tensor], id_list: Sequence[int]) -> None:
        for client_id in id_list:
            loader = self.dataset.get_dataloader(client_id, self.batch_size)
            self.cache.append(self.train(client_id, payload[0], loader))

    def train(self, client_id: int, received: Tensor, loader: Any) -> list[Tensor]:
        """Return the update ``[D]`` of one client and let its memory follow it."""
        before = self.memories[client_id]
        memory = torch.zeros_like(received) if before is None else before
        self.set_model(received)
        for _ in range(self.epochs):
            for images, labels in loader:
                self._step(images, labels, memory, received)
        update = self.model_parameters.sub_(received)
        self.memories[client_id] = memory - self.alpha * update
        return [update]

    def _step(self, images: Tensor, labels: Tensor, memory: Tensor, received: Tensor) -> None:
        self.optimizer.zero_grad()
        self.criterion(self.model(images), labels).backward()
        pull = self.model_parameters.sub_(received)
        gradient = self.model_gradients.sub_(memory).add_(pull, alpha=self.alpha)
        point_at_(list(self._model.parameters()), gradient, gradients=True)
        self.optimizer.step()


class FedDynHandler(SyncServerHandler):  # type: ignore[misc]
    """The server of Algorithm 1; FedLab 1.3.0's own adds whole models to ``h`` where updates belong."""

    def setup_optim(self, alpha: float) -> None:
        """Begin with ``h = 0``."""
        self.alpha = alpha
        self.h = torch.zeros_like(self.model_parameters)

    def remember(self, update: Tensor) -> None:
        """Let ``h`` follow one client's update ``[D]``, 0 where it was not sent."""
        self.h.sub_(update, alpha=self.alpha / self.num_clients)

    def global_update(self, buffer: Sequence[list[Tensor]]) -> None:
        mean = Aggregators.fedavg_aggregate([pack[0] for pack in buffer])
        self.set_model(self.model_parameters.add_(mean).sub_(self.h, alpha=1 / self.alpha))


@dataclass(frozen=True, eq=False)
class FedDyn(Algorithm):
    """FedAvg whose clients add ``-<g_k, w> + alpha / 2 * |w - w_broadcast|^2`` to their loss, equation 1.

    ``g_k``, the client's memory of its own gradient, follows ``g_k -= alpha * update``; the server's ``h`` is the mean
    of all clients' memories, and each new model is ``mean - h / alpha``. The server can compute ``g_k`` from what that
    client has sent, so it hides nothing: a capture tells attackers ``-g_k`` as the offset of each step's gradient.

    Both sides follow what was really sent: where a coordinate was pruned or withheld, ``g_k`` and ``h`` keep their
    values, noise enters both alike, and ``h`` stays the mean of the memories. It is the paper's unweighted mean under
    either ``aggregation.weighting``, which acts on the mean of the models alone, so what is minimised is the unweighted
    mean of the clients' losses.

    Departures: the minimum of equation 1 is approximated by the local steps, as in the paper's own experiments, and a
    coordinate that nobody sent in a round keeps its value, where the paper's server would move it by ``-h / alpha``.

    Args:
        alpha: Strength of the regularisation, above 0. The paper has 0.1 to 0.001, for local training that nears its
            minimum. At ``1 / lr`` and one local step the memory is the client's last gradient; the default is that for
            the host's lr 0.1, where 1 and less were measured to diverge, see ``docs/algorithms.md``.
    """

    alpha: Positive = 10.0

    codec: ClassVar[Codec] = Codec(form="update")
    stateful: ClassVar[bool] = True
    trainer_class: ClassVar[type] = FedDynTrainer
    handler_class: ClassVar[type] = FedDynHandler

    def setup_trainer(self, trainer: Any, training: LocalTraining) -> None:
        trainer.setup_optim(training.epochs, training.batch_size, training.lr, self.alpha)

    def setup_handler(self, handler: Any, training: LocalTraining) -> None:
        handler.setup_optim(self.alpha)

    @property
    def proximal(self) -> float:
        return self.alpha

    def held(self, trainer: Any, client_id: int) -> dict[str, Any]:
        memory = trainer.memories[client_id]
        return {} if memory is None else {"gradient": memory}

    def restore(self, trainer: Any, client_id: int, memory: Mapping[str, Any]) -> None:
        trainer.memories[client_id] = memory.get("gradient")

    def known_offset(self, trainer: Any, payload: Sequence[Tensor], client_id: int) -> Tensor | None:
        """Return ``-g_k``, alpha times the sum of the updates that the client has sent."""
        memory: Tensor | None = trainer.memories[client_id]
        return None if memory is None else -memory

    def settle(self, trainer: Any, client_id: int, memory: dict[str, Any], pack: list[Tensor], sent: Tensor) -> None:
        before = memory.get("gradient", torch.zeros_like(pack[0]))
        trainer.memories[client_id] = torch.where(sent, before - self.alpha * pack[0], before)

    def parts(self, handler: Any, received: Sequence[Sent]) -> Iterator[Sequence[Sent]]:
        """Let ``h`` follow each upload before what is absent from it is filled in."""
        for sent in received:
            handler.remember(applied(sent.pack[0], sent.present))
        yield received

    def needs_single_uploads(self, steps: int | None, weighting: str) -> str | None:
        """Return that ``h`` is an unweighted mean, where the sums are weighted."""
        if weighting != "uniform":
            return "feddyn's h is the unweighted mean of the clients' memories; set aggregation.weighting: uniform"
        return None
