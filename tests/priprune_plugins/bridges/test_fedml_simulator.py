"""FedML's own single-process simulator with the plugins; run by tests/frameworks/run.sh fedml."""

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from priprune_plugins.bridges.leak_captures import LeakCaptures
from priprune_plugins.bridges.setting import make_setting
from priprune_plugins.run.observed import all_captures
from priprune_plugins.testing.federation import LR, SEED, small_data, small_net

_REASON = "FedML has its own environment: tests/frameworks/run.sh fedml"
fedml = pytest.importorskip("fedml", reason=_REASON)
stock_api = pytest.importorskip("fedml.simulation.sp.fedavg.fedavg_api", reason=_REASON)
bridge = pytest.importorskip("priprune_plugins.bridges.fedml_simulator", reason=_REASON)

CPU = torch.device("cpu")


def arguments(**more: Any) -> SimpleNamespace:
    args = SimpleNamespace(
        client_num_in_total=4,
        client_num_per_round=3,
        comm_round=3,
        dataset="digits",
        client_optimizer="sgd",
        learning_rate=LR,
        epochs=2,
        batch_size=8,
        frequency_of_the_test=100,
        enable_wandb=False,
        **more,
    )
    fedml.mlops.pre_setup(args)
    return args


def data_sets() -> list[Any]:
    data = small_data()
    parts = {index: data.client(index, "train") for index in range(4)}
    counts = {index: len(labels) for index, (_, labels) in parts.items()}
    train = {index: DataLoader(TensorDataset(*part), batch_size=8, shuffle=True) for index, part in parts.items()}
    test = {index: DataLoader(TensorDataset(*data.client(index, "test")), batch_size=64) for index in range(4)}
    return [sum(counts.values()), len(data.test), None, None, counts, train, test, 10]


def simulator(foreign: Any, plugins: Any, captures: LeakCaptures | None = None) -> Any:
    torch.manual_seed(0)
    model = small_net()
    facts = replace(foreign.facts, local_steps=None, epochs=2)
    setting = make_setting(model, facts, plugins, foreign.folder, SEED, captures)
    return bridge.PluginFedAvgAPI(arguments(), CPU, data_sets(), model, setting)


def test_without_plugins_every_bit_is_stock_fedmls(foreign: Any) -> None:
    torch.manual_seed(0)
    stock = stock_api.FedAvgAPI(arguments(), CPU, data_sets(), small_net())
    live = stock.model_trainer.get_model_params
    # Stock FedML's first broadcast is the live model, which each client of round 0 trains further; a copy is meant.
    stock.model_trainer.get_model_params = lambda: copy.deepcopy(live())
    stock.train()
    ours = simulator(foreign, {})
    ours.train()
    expected, found = stock.model_trainer.get_model_params(), ours.model_trainer.get_model_params()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_prunefl_with_its_first_stage_and_priprune_train_and_prune(foreign: Any) -> None:
    pruner = {"name": "prunefl", "rate": 0.3, "every": 1, "initial_passes": 3, "initial_every": 1}
    captures = LeakCaptures(foreign.folder, rounds=(0, 2), clients=(1, 2))
    api = simulator(foreign, {"pruner": pruner, "defenses": [{"name": "priprune"}]}, captures)
    initial = api.side.server.weights.clone()
    api.train()
    server = api.side.server
    kept = server.mask[server.layout.prunable]
    assert kept.numel() - int(kept.sum()) == round(0.3 * kept.numel())
    final = torch.cat([tensor.reshape(-1) for tensor in api.model_trainer.get_model_params().values()])
    assert torch.equal(final, server.weights.masked_fill(~server.mask, 0.0))
    assert not torch.equal(server.weights, initial)
    # FedML draws clients 1, 2 and 3 in rounds 0 and 2, by numpy seeded with the round.
    assert [record["clients"] for record in api.side.records] == [[1, 2, 3], [0, 2, 3], [1, 2, 3]]
    keys = [capture.key for capture in all_captures(foreign.folder / "captures")]
    assert keys == ["r000000_c00001", "r000000_c00002", "r000002_c00001", "r000002_c00002"]
