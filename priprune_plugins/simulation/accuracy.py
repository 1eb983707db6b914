"""How well the weights do that a federation has: the server's own, and those that each client would use."""

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from priprune_plugins.masks import apply_
from priprune_plugins.messages import Evaluation, LabelledSet
from priprune_plugins.simulation.buffers import load_buffers_
from priprune_plugins.simulation.evaluation import evaluate

if TYPE_CHECKING:
    from priprune_plugins.simulation.federation import Federation


def server_evaluation(federation: "Federation") -> Evaluation:
    """Return loss and accuracy of what the server would broadcast now, on the global test set.

    Under ``buffers: local`` nobody holds statistics for the global model: the mean over the clients that have
    their own is given.
    """
    test: LabelledSet = federation.setting.data.test
    trainer = federation.runner.trainer
    trainer.flat.copy_(federation.current())
    holders = list(federation.buffers.clients.values()) or [federation.buffers.server]
    results = []
    for buffers in holders:
        load_buffers_(trainer.model, buffers)
        results.append(evaluate(trainer.model, test.images, test.labels))
    mean_loss = sum(result.loss for result in results) / len(results)
    return Evaluation(mean_loss, sum(result.accuracy for result in results) / len(results), len(test))


def client_evaluation(federation: "Federation", client_id: int, payload: list[Tensor]) -> Evaluation:
    """Return loss and accuracy of the weights that a client would use, on its own test images.

    Args:
        federation: Holds the client.
        client_id: The client.
        payload: What the server would broadcast.
    """
    newest = federation.setting.algorithm.newest(payload)
    visit = federation.runner.prepared(replace(federation.visit(client_id), payload=newest))
    client = federation.runner.client(visit, (), 0)
    federation.runner.load(visit)
    own = _personal(federation, client_id)
    if own is not None:
        client.weights = own
    federation.host.on_client_evaluate(client)
    apply_(client.weights, client.mask)
    evaluation = client.evaluate("test")
    federation.states.clients.settle(client_id)
    return evaluation


def _personal(federation: "Federation", client_id: int) -> Tensor | None:
    algorithm = federation.setting.algorithm
    return algorithm.personal(federation.states.algorithm(client_id)) if algorithm.stateful else None
