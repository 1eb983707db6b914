"""IFCA: the iterative federated clustering algorithm.

Reference: Ghosh, Chung, Yin, Ramchandran, "An Efficient Framework for Clustered Federated Learning", NeurIPS 2020,
arXiv:2006.04088, Algorithm 1, option II (model averaging).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from priprune_plugins.errors import ScenarioError
from priprune_plugins.messages import Upload
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.algorithms.ifca_handler import IFCAHandler
from priprune_plugins.simulation.algorithms.reporting import ReportingRule, ReportingTrainer
from priprune_plugins.simulation.codecs import Codec
from priprune_plugins.simulation.evaluation import evaluate
from priprune_plugins.simulation.local_rule import LocalRule
from priprune_plugins.simulation.sent import Sent


@dataclass(frozen=True, eq=False)
class IFCA(Algorithm):
    """FedAvg with several models: each client trains the one that fits its data best, and tells the server which.

    All models are broadcast. A client takes the one with the lowest loss on all of its training images, the first of
    equal ones, and sends its weights and the model's number. The server averages the uploads of each model apart; one
    that nobody chose stays.

    The rest of the simulation knows one vector ``server.weights``: it is the model that most clients chose the last
    time each took part, the first of equal ones. Pruners score it, its mask prunes every model, and global accuracy is
    its accuracy; a client's own accuracy is that of the model it would choose. What a plugin sets to 0 in it becomes 0
    in every model, and anything else set there is refused, since it would make the models the same. An attacker knows
    which model an upload began from.

    Departure: the paper leaves open how the models begin. The first is the run's own; in the others each layer's
    numbers are shuffled, which is a new draw of weights that were drawn independently.

    Args:
        clusters: Models, from 2 to the number of clients; each client is of one cluster, so that more would stay as
            they began. All are broadcast: a round's download and the server's memory grow with them.
    """

    clusters: Annotated[int, Field(ge=2)] = 2

    codec: ClassVar[Codec] = Codec(extras=("cluster",))
    several_models: ClassVar[bool] = True
    trainer_class: ClassVar[type] = ReportingTrainer
    handler_class: ClassVar[type] = IFCAHandler

    def check_clients(self, num_clients: int, clients_per_round: int) -> None:
        if self.clusters > num_clients:
            raise ScenarioError(
                f"algorithm.clusters must be at most the number of clients ({num_clients}), got {self.clusters}; "
                "lower it"
            )

    def refused(self, extras: Mapping[str, Tensor]) -> str | None:
        found = extras["cluster"]
        if found.shape != (1,) or found.dtype is not torch.int64:
            got = f"{found.dtype} {list(found.shape)}".removeprefix("torch.")
            return f"cluster must be int64 [1], got {got}"
        number = int(found)
        return None if 0 <= number < self.clusters else f"cluster must be from 0 to {self.clusters - 1}, got {number}"

    def setup_handler(self, handler: Any, training: LocalTraining) -> None:
        self.check_clients(training.num_clients, training.clients_per_round)
        handler.setup_optim(self.clusters)

    def local_rule(self) -> LocalRule:
        return ReportingRule()

    def prepared(self, trainer: Any, payload: Sequence[Tensor], client_id: int) -> Sequence[Tensor]:
        """Return the model that the client chooses and its number ``[1]``."""
        losses = []
        for weights in payload:
            trainer.flat.copy_(weights)
            losses.append(evaluate(trainer.model, *trainer.dataset.get_dataset(client_id)).loss)
        best = min(range(len(losses)), key=losses.__getitem__)
        return [payload[best], torch.tensor([best], device=payload[best].device)]

    def parts(self, handler: Any, received: Sequence[Sent]) -> Iterator[Sequence[Sent]]:
        """Yield the uploads of each chosen model."""
        chosen: dict[int, list[Sent]] = {}
        for sent in received:
            chosen.setdefault(cluster_of(sent.upload), []).append(sent)
        for cluster, uploads in sorted(chosen.items()):
            with handler.at_work_on(cluster):
                yield uploads
            handler.chosen_by([sent.upload.client_ids[0] for sent in uploads], cluster)
        handler.lead()

    def dense(self, handler: Any, upload: Upload) -> Tensor | None:
        model: Tensor = handler.models[cluster_of(upload)]
        return model

    def needs_single_uploads(self, steps: int | None, weighting: str) -> str | None:
        """Return that a sum over clients mixes their models."""
        return "ifca averages each chosen model apart, and a sum does not tell who chose which; use fedavg"


def cluster_of(upload: Upload) -> int:
    """Return the number of the model that an upload began from."""
    return int(upload.extras["cluster"])
