"""Every pruner with every FedLab algorithm, chosen in a scenario and run by the host."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import make_federation, make_plugins, make_world
from priprune_plugins.scenario import read_scenario
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

RATE = 0.3
ALGORITHMS = {
    "fedavg": "",
    "fedprox": ", mu: 0.1",
    "scaffold": "",
    "fednova": "",
    "powerofchoice": ", candidates: 4",
    "fedasync": ", max_delay: 1",
    "feddyn": "",
    "qfedavg": "",
    "ditto": ", personal_steps: 1",
    "ifca": ", clusters: 2",
}
PRUNERS = {
    "random": "",
    "magnitude": "",
    "snip": ", source: clients",
    "grasp": ", source: public",
    "synflow": ", iterations: 5",
    "feddst": ", every: 1, until: 2",
    "prunefl": ", every: 1, initial_passes: 2",
    "lotteryfl": ", accuracy: 0.0, fraction: 0.5",
}
SCENARIO = """
seed: 6
device: cpu
rounds: 2
data: {{name: digits, size: 14, train: 240, test: 60, clients: 4, partition: iid, validation: 0.5, public: 20}}
model: {{name: mlp, hidden: [20]}}
algorithm: {{name: {algorithm}{options}, clients_per_round: 3, local_steps: 2, batch_size: 8, lr: 0.05}}
pruner: {{name: {pruner}, rate: {rate}{pruner_options}}}
"""


@pytest.fixture(params=ALGORITHMS)
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=PRUNERS)
def federation(request: pytest.FixtureRequest, algorithm: str, tmp_path: Path) -> Federation:
    """The federation of a scenario that names both, after its setup round."""
    path = tmp_path / f"{request.param}.yaml"
    of_pruner = PRUNERS[request.param]
    if (algorithm, request.param) == ("ifca", "prunefl"):
        # Its first stage would train one client's model into all of IFCA's, which is refused.
        of_pruner = ", every: 1, initial: magnitude"
    options = {"options": ALGORITHMS[algorithm], "pruner_options": of_pruner}
    path.write_text(SCENARIO.format(algorithm=algorithm, pruner=request.param, rate=RATE, **options))
    scenario = read_scenario(path)
    plugins = make_plugins(scenario)
    world = make_world(scenario, plugins)
    made = make_federation(scenario, plugins, world, PluginHost(plugins.hooked))
    made.setup()
    return made


def played(federation: Federation, round_idx: int) -> tuple[list[Tensor], Tensor | None, list[Sent]]:
    """Play a round and return what was broadcast, under which mask, and what came back."""
    sampled = federation.start_round(round_idx)
    broadcast, mask = federation.payload, federation.server.mask
    received = federation.train(sampled)
    federation.aggregate(received)
    return broadcast, mask, received


def test_pruned_coordinates_are_zero_and_the_density_is_the_promised_one(federation: Federation) -> None:
    layout, before = federation.server.layout, federation.server.weights.clone()
    vectors = federation.setting.algorithm.codec.vectors
    for round_idx in range(2):
        broadcast, mask, received = played(federation, round_idx)
        assert len(received) == 3
        for element in broadcast:
            assert mask is None or element.numel() != layout.num_parameters or not element[~mask].any()
        for sent in received:
            assert sent.mask is not None
            sent_vectors = [sent.upload.weights, *(sent.upload.extras[name] for name in vectors)]
            assert all(not vector[~sent.mask].any() for vector in sent_vectors)
            assert int((~sent.mask).sum()) == round(RATE * int(layout.prunable.sum()))
            assert not bool((~sent.mask & ~layout.prunable).any())
    assert bool(torch.isfinite(federation.server.weights).all())
    assert not torch.equal(federation.server.weights, before)
