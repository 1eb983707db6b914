"""Clients that train together send what they send one after another, whatever the model and the algorithm."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from priprune_defenses.priprune import PriPrune
from priprune_defenses.release import Release
from priprune_plugins.catalogue import installed
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.algorithms.fedasync import FedAsync
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.algorithms.fednova import FedNova
from priprune_plugins.simulation.algorithms.fedprox import FedProx
from priprune_plugins.simulation.algorithms.ifca import IFCA
from priprune_plugins.simulation.algorithms.powerofchoice import PowerOfChoice
from priprune_plugins.simulation.algorithms.qfedavg import QFedAvg
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.crew import MakeCrew, OneByOne
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_pruners.feddst import FedDST
from priprune_pruners.magnitude import Magnitude
from priprune_pruners.prunefl import PruneFL

SMALL = ("lenet5", "lenet_dlg", "mini", "mlp", "small14")
ALGORITHMS: dict[str, Callable[[], Algorithm]] = {
    "fedavg": FedAvg,
    "fedprox": lambda: FedProx(mu=0.5),
    "fednova": FedNova,
    "scaffold": Scaffold,
    "powerofchoice": PowerOfChoice,
    "fedasync": FedAsync,
    "qfedavg": QFedAvg,
    "ifca": IFCA,
}
PLUGINS: dict[str, Callable[[], list[tuple[str, object]]]] = {
    "none": list,
    "magnitude and priprune": lambda: [("pruners", Magnitude(rate=0.3)), ("defenses", PriPrune(theta=1.3))],
    "prunefl and release": lambda: [
        ("pruners", PruneFL(rate=0.3, every=2, initial="magnitude")),
        ("defenses", Release()),
    ],
    "feddst": lambda: [("pruners", FedDST(rate=0.3, every=1, until=10))],
}
Build = Callable[..., Federation]
Crews = Callable[..., MakeCrew]
Play = Callable[..., tuple[Tensor, list[Sent]]]
Check = Callable[..., None]


# In float64 rounding decides no comparison of scores: the two must agree in every mask, and far below 1e-5.
@pytest.mark.parametrize("plugins", PLUGINS)
@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox"])
@pytest.mark.parametrize(
    "model",
    [
        name if name in SMALL else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(entry.name for entry in installed("models"))
    ],
)
def test_a_cohort_trains_as_its_clients_do_alone(
    together: Crews, played: Play, check_same: Check, model: str, algorithm: str, plugins: str
) -> None:
    results = [played(model, crew, ALGORITHMS[algorithm](), PLUGINS[plugins]()) for crew in (OneByOne, together())]
    check_same(*results, within=1e-9)


@pytest.mark.parametrize("steps", [2, None])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_rule_is_its_trainers(
    together: Crews, played: Play, check_same: Check, algorithm: str, steps: int | None
) -> None:
    plugins = PLUGINS["magnitude and priprune"]
    results = [
        played("lenet5", crew, ALGORITHMS[algorithm](), plugins(), steps, rounds=3) for crew in (OneByOne, together())
    ]
    check_same(*results, within=1e-9)


@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold"])
def test_single_precision_agrees_within_rounding_at_any_cohort_size(
    together: Crews, played: Play, check_same: Check, algorithm: str
) -> None:
    def result(crew: MakeCrew) -> tuple[Tensor, list[Sent]]:
        return played("mini", crew, ALGORITHMS[algorithm](), dtype=torch.float32)

    whole = result(together())
    check_same(result(OneByOne), whole, within=1e-5)
    for size in (1, 2):
        check_same(whole, result(together(size)), within=1e-6)


def test_clients_keep_their_own_batch_norm_statistics(build: Build, together: Crews) -> None:
    results = []
    for crew in (OneByOne, together()):
        federated = build("batch_normed", crew, steps=3, buffers="local")
        federated.train(federated.start_round(0))
        results.append(federated.buffers.clients)
    alone, cohort = results
    assert len(cohort) == 3  # clients a round
    for client_id, buffers in alone.items():
        for name, buffer in buffers.items():
            assert torch.allclose(cohort[client_id][name], buffer, rtol=0, atol=1e-9)
    (first, second, _) = cohort.values()
    assert not torch.equal(first["net.1.running_mean"], second["net.1.running_mean"])
