"""FedML's own cross-silo trainer and aggregator with the plugins; run by tests/frameworks/run.sh fedml.

Server and silos are FedML's ``FedMLAggregator`` and ``TrainerDistAdapter``, which call the hooks; their messages are
pickled, as FedML's transports do, and handed over in one process.
"""

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from priprune_plugins.bridges.client_side import ClientSide
from priprune_plugins.bridges.server_side import ServerSide
from priprune_plugins.bridges.state_dicts import unpacked
from priprune_plugins.errors import ScenarioError
from priprune_plugins.testing.federation import LR, small_net

_REASON = "FedML has its own environment: tests/frameworks/run.sh fedml"
fedml = pytest.importorskip("fedml", reason=_REASON)
adapter = pytest.importorskip("fedml.cross_silo.client.fedml_trainer_dist_adapter", reason=_REASON)
fedml_aggregator = pytest.importorskip("fedml.cross_silo.server.fedml_aggregator", reason=_REASON)
privacy = pytest.importorskip("fedml.core.dp.fedml_differential_privacy", reason=_REASON)
trainers = pytest.importorskip("fedml.ml.trainer.trainer_creator", reason=_REASON)
client_bridge = pytest.importorskip("priprune_plugins.bridges.fedml_trainer", reason=_REASON)
server_bridge = pytest.importorskip("priprune_plugins.bridges.fedml_server", reason=_REASON)

CPU, SILOS, ROUNDS = torch.device("cpu"), 3, 2
PLUGINS = {
    "pruner": {"name": "prunefl", "rate": 0.3, "initial": "magnitude", "every": 1},
    "defenses": [{"name": "priprune"}],
}


def arguments(**more: Any) -> SimpleNamespace:
    args = SimpleNamespace(
        training_type="cross_silo",
        scenario="horizontal",
        federated_optimizer="FedAvg",
        comm_round=ROUNDS,
        dataset="digits",
        client_optimizer="sgd",
        learning_rate=LR,
        epochs=1,
        batch_size=8,
        frequency_of_the_test=100,
        enable_wandb=False,
        **more,
    )
    fedml.mlops.pre_setup(args)
    return args


def silo(foreign: Any, rank: int, **more: Any) -> Any:
    model, args = small_net(), arguments(**more)
    trainer = client_bridge.PluginTrainer(trainers.create_model_trainer(model, args), foreign.setting(PLUGINS))
    batches = {index: foreign.batches(index) for index in range(SILOS)}
    counts = {index: 16 + index for index in range(SILOS)}
    return adapter.TrainerDistAdapter(args, CPU, rank, model, 51, counts, batches, batches, trainer)


def server(foreign: Any) -> tuple[Any, Any]:
    model, args = small_net(), arguments()
    aggregator = server_bridge.PluginAggregator(model, args, foreign.setting(PLUGINS))
    return aggregator, fedml_aggregator.FedMLAggregator([], [], 51, None, None, None, SILOS, CPU, args, aggregator)


def sent(message: Any) -> Any:
    return pickle.loads(pickle.dumps(message))  # noqa: S301 - what FedML's transports do


def test_fedmls_own_rounds_give_what_the_neutral_sides_give(foreign: Any) -> None:
    aggregator, fedml_server = server(foreign)
    silos = [silo(foreign, rank) for rank in range(1, SILOS + 1)]
    clients, plain = ClientSide(foreign.setting(PLUGINS)), ServerSide(foreign.setting(PLUGINS))
    broadcast = fedml_server.get_global_model_params()
    for round_idx in range(ROUNDS):
        expected, states = plain.start_round(round_idx), []
        assert all(torch.equal(broadcast[name], tensor) for name, tensor in expected.items())
        for index, one in enumerate(silos):
            one.update_dataset(index)
            one.trainer.update_model(sent(broadcast))
            weights, samples = one.train(round_idx)
            _, state = foreign.client(clients, expected, index, foreign.batches(index), samples)
            assert all(torch.equal(weights[name], tensor) for name, tensor in state.items())
            states.append((samples, state))
            fedml_server.add_local_trained_result(index, sent(weights), samples)
        broadcast, _, _ = fedml_server.aggregate()
        received = plain.receive(states)
        total = sum(amount for amount, _ in received)
        names = received[0][1]
        plain.aggregated({n: sum(state[n] * (amount / total) for amount, state in received) for n in names})
    assert torch.equal(aggregator.side.server.weights, plain.server.weights)
    assert torch.equal(aggregator.side.server.mask, plain.server.mask)


def test_fedmls_local_noise_is_added_to_what_is_sent(foreign: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broadcast = server(foreign)[1].get_global_model_params()
    uploads = []
    # FedML keeps whether it adds noise for the whole process.
    monkeypatch.setattr(privacy.FedMLDifferentialPrivacy.get_instance(), "is_enabled", False)
    noise = {"dp_solution_type": "ldp", "mechanism_type": "gaussian", "epsilon": 0.5, "delta": 0.1, "sensitivity": 1}
    for more in ({}, {"enable_dp": True, **noise}):
        one = silo(foreign, 1, **more)
        one.update_dataset(0)
        one.trainer.update_model(sent(broadcast))
        uploads.append(unpacked(one.train(0)[0]))
    assert uploads[0].beside.keys() == uploads[1].beside.keys()
    assert not torch.equal(uploads[0].state["0.weight"], uploads[1].state["0.weight"])


def test_a_pruner_with_a_first_stage_is_refused_across_silos(foreign: Any) -> None:
    setting = foreign.setting({"pruner": {"name": "prunefl"}})
    with pytest.raises(ScenarioError, match="which FedML across silos has not"):
        server_bridge.PluginAggregator(small_net(), arguments(), setting)
