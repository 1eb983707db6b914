"""With no plugin, what FedLab 1.3.0 computes is what we compute, bit for bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_plugins.generators import generator, seeded_globals
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.batches import ClientBatches, RoundDataset
from priprune_plugins.simulation.federation import Federation

SEED, ROUNDS = 7, 3


class Stock:
    """FedLab's own trainer and handler, called for the same clients on the same batches in the same seeding scope."""

    def __init__(self, algorithm: Algorithm, model: nn.Module, data: Any, steps: int | None, epochs: int) -> None:
        training = LocalTraining(epochs, 20, 0.1, 10, data.num_clients)
        self.trainer = algorithm.trainer_class(model, data.num_clients)
        algorithm.setup_trainer(self.trainer, training)
        self.data, self.steps = data, steps
        self.dataset = RoundDataset(lambda client_id: data.client(client_id, "train"), data.num_clients)
        self.trainer.setup_dataset(self.dataset)
        self.handler = algorithm.handler_class(model, ROUNDS, 10 / data.num_clients)
        self.handler.num_clients = data.num_clients
        # int(10 / 12 * 12) may be 9: FedLab's own rounding must not shrink the round under test.
        self.handler.sample_ratio = 10.5 / data.num_clients
        algorithm.setup_handler(self.handler, training)

    def round(self, round_idx: int, client_ids: list[int]) -> list[list[Tensor]]:
        payload, packs = self.handler.downlink_package, []
        for client_id in client_ids:
            images, labels = self.data.client(client_id, "train")
            stream = generator(SEED, "client", round_idx, client_id, "batches")
            self.dataset.drawn = {client_id: ClientBatches(images, labels, 20, self.steps, stream)}
            with seeded_globals(SEED, "client", round_idx, client_id, "training"):
                self.trainer.local_process(payload, [client_id])
            packs.extend(self.trainer.uplink_package)
        for pack in packs:
            self.handler.load(pack)
        return packs


@pytest.mark.parametrize(("steps", "epochs"), [(2, 1), (None, 2)])
def test_uploads_and_final_weights_are_stock_fedlabs_bits(
    federation: Callable[..., Federation],
    algorithm: Algorithm,
    data: Any,
    net: Callable[[], nn.Module],
    steps: int | None,
    epochs: int,
) -> None:
    ours = federation(algorithm, steps=steps, epochs=epochs, weighting="uniform", sum="stock")
    stock = Stock(algorithm, net(), data, steps, epochs)
    for round_idx in range(ROUNDS):
        client_ids = ours.start_round(round_idx)
        received = ours.train(client_ids)
        packs = stock.round(round_idx, client_ids)
        ours.aggregate(received)
        assert len(received) == 10
        for sent, pack in zip(received, packs, strict=True):
            assert all(torch.equal(mine, theirs) for mine, theirs in zip(sent.pack, pack, strict=True))
    assert torch.equal(ours.server.weights, stock.handler.model_parameters)


def test_running_sum_agrees_with_stock_to_a_millionth(
    federation: Callable[..., Federation],
    algorithm: Algorithm,
    one_round: Callable[[Federation, int], list[Any]],
) -> None:
    stock = federation(algorithm, weighting="uniform", sum="stock")
    running = federation(algorithm, weighting="uniform", sum="running")
    one_round(stock, 0)
    one_round(running, 0)
    assert torch.allclose(stock.server.weights, running.server.weights, atol=1e-6, rtol=0)
