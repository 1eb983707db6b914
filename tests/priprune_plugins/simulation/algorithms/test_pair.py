"""FedLab's own classes, given by name."""

from collections.abc import Callable

import torch

from priprune_plugins.simulation.algorithms.fedprox import FedProx
from priprune_plugins.simulation.algorithms.pair import FedLabPair
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

OneRound = Callable[[Federation, int], list[Sent]]


def test_any_fedlab_pair_runs_by_module_and_class(federation: Callable[..., Federation], one_round: OneRound) -> None:
    pair = FedLabPair(
        trainer_path="fedlab.contrib.algorithm.fedprox:FedProxSerialClientTrainer",
        handler_path="fedlab.contrib.algorithm.fedprox:FedProxServerHandler",
        trainer_options={"mu": 0.1},
    )
    own, built_in = federation(pair), federation(FedProx(mu=0.1))
    for federated in (own, built_in):
        one_round(federated, 0)
    assert torch.equal(own.server.weights, built_in.server.weights)
