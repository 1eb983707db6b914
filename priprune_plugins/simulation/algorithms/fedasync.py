"""FedAsync: uploads that come late, each mixed in when it comes.

Reference: Xie, Koyejo, Gupta, "Asynchronous Federated Optimization", 2019, arXiv:1903.03934, Algorithm 1, option I.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from priprune_plugins.messages import Upload
from priprune_plugins.options import NonNegative
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.algorithms.fedasync_handler import Fading, FedAsyncHandler
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.local_rule import LocalRule
from priprune_plugins.simulation.sent import Sent

# The paper's own values.
_HINGE, _POLYNOMIAL = 10.0, 0.5


@dataclass(frozen=True, eq=False)
class FedAsync(Algorithm):
    """The server mixes every upload in by itself, and clients train on weights that are some rounds old.

    An upload ``w_k`` makes ``w + alpha * s(staleness) * (w_k - w)`` of the server's ``w``. Time is simulated, as in the
    paper's own experiments. The uploads of a round arrive one after another, in order of client ids; each client was
    sent the weights that the server had at the beginning of a round up to ``max_delay`` rounds earlier, drawn uniformly
    for each client and round; rounds that brought no upload do not count. Attackers and defences measure an upload
    against the weights that its client was sent. What a defence withholds openly stays as the server has it;
    ``release`` with ``hide`` sends the client's old weights there, and they are mixed in as such. A client's own
    accuracy is that of the newest weights.

    Departures:

    * Delays are drawn, in rounds, and staleness follows from them: ``delay * clients_per_round`` and the upload's place
      in its round. With ten clients a round half of the newest are beyond ``b = 4`` already.
    * The server keeps the book of who was sent which weights, where the paper's clients send the number back.
    * Staleness counts the uploads that were mixed in since the client was sent its weights, 0 for a fresh one, so that
      ``alpha`` is what a fresh upload weighs; the paper's ``t - tau`` is 1 more.
    * Batch-norm statistics are averaged over a round as ``aggregation`` says, without ``alpha`` and staleness; the
      weights themselves are mixed by those alone, whatever ``aggregation.weighting`` is.
    * What a plugin sets in ``server.weights`` between rounds is as if every version had been so: zeros become zeros in
      all, anything else replaces the older versions.
    * Old weights are pruned by the base mask of the round in which the upload arrives: a mask is taken to reach
      everybody at once. With a mask that is chosen once there is no difference.
    * FedLab 1.3.0's ``hinge`` is ``1 / (a * (staleness - b + 1))``, which falls from 1 to ``1 / (2 a)`` at once; the
      paper's is ``1 / (a * (staleness - b) + 1)``.

    Args:
        alpha: Weight of a fresh upload, in (0, 1].
        fading: How the weight falls with staleness: ``constant``: not at all; ``hinge``: above ``b``, as
            ``1 / (a * (staleness - b) + 1)``; ``polynomial``: as ``(staleness + 1) ** -a``.
        a: How fast; None = the paper's, 10 for ``hinge`` and 0.5 for ``polynomial``.
        b: Staleness up to which ``hinge`` changes nothing.
        max_delay: How many rounds old the weights may be that a client trains on; 0 = each has the newest of its
            round. The server keeps so many models and one more, checkpoints too.
    """

    alpha: Annotated[float, Field(gt=0, le=1)] = 0.6
    fading: Fading = "polynomial"
    a: NonNegative | None = None
    b: Annotated[int, Field(ge=0)] = 4
    max_delay: Annotated[int, Field(ge=0)] = 4

    trainer_class: ClassVar[type] = FedAvg.trainer_class
    handler_class: ClassVar[type] = FedAsyncHandler

    def setup_handler(self, handler: Any, training: LocalTraining) -> None:
        paper = _HINGE if self.fading == "hinge" else _POLYNOMIAL
        a = paper if self.a is None else self.a
        handler.setup_optim(self.alpha, self.fading, a, self.b, self.max_delay, training.seed)

    def local_rule(self) -> LocalRule:
        return LocalRule()

    def prepared(self, trainer: Any, payload: Sequence[Tensor], client_id: int) -> Sequence[Tensor]:
        """Return the weights that the client was sent; those alone where no others are at hand."""
        return payload if len(payload) == 1 else [payload[int(payload[-1][0, client_id])]]

    def newest(self, payload: Sequence[Tensor]) -> Sequence[Tensor]:
        return payload[:1]

    def parts(self, handler: Any, received: Sequence[Sent]) -> Iterator[Sequence[Sent]]:
        """Yield the uploads one by one."""
        handler.begin_round()
        for sent in received:
            (handler.arriving,) = sent.upload.client_ids
            yield [sent]
        handler.end_round()

    def dense(self, handler: Any, upload: Upload) -> Tensor | None:
        weights: Tensor = handler.sent_to(upload.client_ids[0])
        return weights

    def needs_single_uploads(self, steps: int | None, weighting: str) -> str | None:
        """Return that each upload is mixed in by its own age."""
        return "fedasync mixes each upload in by its own age; use fedavg"
