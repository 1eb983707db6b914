"""q-FedAvg.

Reference: Li, Sanjabi, Beirami, Smith, "Fair Resource Allocation in Federated Learning", ICLR 2020, arXiv:1905.10497,
Algorithm 2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.options import NonNegative
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.algorithms.reporting import ReportingRule, ReportingTrainer
from priprune_plugins.simulation.codecs import Codec
from priprune_plugins.simulation.evaluation import evaluate
from priprune_plugins.simulation.local_rule import LocalRule

with fedlab_imports():
    from fedlab.contrib.algorithm.basic_server import SyncServerHandler
    from fedlab.utils.aggregator import Aggregators

_LEAST_LOSS = 1e-10  # as in the authors' code: F^(q - 1) has no value at 0


def h(loss: float, squared: float, q: float, lipschitz: float) -> float:
    """Return the paper's ``h_k``, an estimate of the Lipschitz constant of the gradient of ``F_k^(q + 1) / (q + 1)``.

    With ``N = |Delta_k|^2`` the ``squared`` norm is ``N / loss^(2 q)``, and h has one minimum over the loss, at
    ``loss^(2 q + 1) = (q + 1) N / lipschitz``: one root on either side.

    Args:
        loss: ``F_k``, above 0.
        squared: ``|lipschitz * (w - w_k)|^2``.
        q: The fairness.
        lipschitz: ``L``, one over the learning rate.
    """
    return float(q * loss ** (q - 1) * squared + lipschitz * loss**q)


class QFedAvgHandler(SyncServerHandler):  # type: ignore[misc]
    """The server of Algorithm 2; FedLab 1.3.0 has no working one."""

    shares: Sequence[float] = ()

    def setup_optim(self, q: float, lipschitz: float) -> None:
        """Take the fairness and ``L``."""
        self.q, self.lipschitz = q, lipschitz

    def global_update(self, buffer: Sequence[list[Tensor]]) -> None:
        """Set ``w - sum_k Delta_k / sum_k h_k``; the sum of ``Delta_k`` is the way to a mean weighted by ``F_k^q``."""
        before, vectors = self.model_parameters, [pack[0] for pack in buffer]
        losses = [max(float(pack[1]), _LEAST_LOSS) for pack in buffer]
        shares = self.shares or [1 / len(buffer)] * len(buffer)
        weights = [share * loss**self.q for share, loss in zip(shares, losses, strict=True)]
        total = sum(
            share * h(loss, self._squared(before - vector), self.q, self.lipschitz)
            for share, loss, vector in zip(shares, losses, vectors, strict=True)
        )
        mean = Aggregators.fedavg_aggregate(vectors, weights)
        self.set_model(torch.lerp(before, mean, self.lipschitz * sum(weights) / total))

    def _squared(self, way: Tensor) -> float:
        return float((way * self.lipschitz).square_().sum(dtype=torch.float64))


@dataclass(frozen=True, eq=False)
class QFedAvg(Algorithm):
    """FedAvg that gives clients of a high loss more weight: the mean of ``F_k^(q + 1) / (q + 1)`` is minimised.

    The paper's client sends ``Delta_k = F_k^q * L * (w - w_k)`` and ``h_k = q F_k^(q - 1) |L (w - w_k)|^2 + L F_k^q``,
    with ``L = 1 / lr`` and ``F_k`` the loss of the broadcast on all of its training images. Here it sends ``w_k`` and
    ``F_k``, from which the server forms both. They say the same: the norm of ``Delta_k`` turns ``h_k`` into an equation
    for ``F_k`` alone, with two roots at most, see :func:`h`, and ``F_k`` gives the update. So nobody who holds the
    paper's upload knows less. What is withheld then counts 0 in ``h_k`` too, which the client's own ``h_k`` would tell
    the norm of, and steer the step by.

    ``aggregation.weighting: samples`` multiplies both by a client's images, where the paper draws the clients with
    probabilities in proportion to those.

    Args:
        q: How much the weight follows the loss, at least 0; 0 is FedAvg.
    """

    q: NonNegative = 1.0

    codec: ClassVar[Codec] = Codec(extras=("loss",))
    trainer_class: ClassVar[type] = ReportingTrainer
    handler_class: ClassVar[type] = QFedAvgHandler

    def setup_handler(self, handler: Any, training: LocalTraining) -> None:
        handler.setup_optim(self.q, 1 / training.lr)

    def refused(self, extras: Mapping[str, Tensor]) -> str | None:
        found = extras["loss"]
        if found.shape != (1,) or not found.is_floating_point():
            got = f"{found.dtype} {list(found.shape)}".removeprefix("torch.")
            return f"loss must be floating-point [1], got {got}"
        return None if bool(torch.isfinite(found)) else f"loss must be finite, got {float(found)}"

    def local_rule(self) -> LocalRule:
        return ReportingRule()

    def prepared(self, trainer: Any, payload: Sequence[Tensor], client_id: int) -> Sequence[Tensor]:
        """Return the broadcast and ``F_k``, its loss ``[1]`` on all of the client's training images."""
        trainer.flat.copy_(payload[0])
        loss = evaluate(trainer.model, *trainer.dataset.get_dataset(client_id)).loss
        return [payload[0], payload[0].new_tensor([loss])]

    def needs_single_uploads(self, steps: int | None, weighting: str) -> str | None:
        """Return that each update is weighed by its own client's loss."""
        return "qfedavg weighs each update by its client's own loss; use fedavg"
