"""Nothing but the seed decides the training: not the order of clients, not a probe, not the global generators."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from priprune_plugins import Client, hookimpl
from priprune_plugins.generators import derived_seed, generator, seeded_globals
from priprune_plugins.plugins import PluginHost
from priprune_plugins.simulation.algorithm import Algorithm
from priprune_plugins.simulation.algorithms.pair import FedLabPair
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.federation import Federation


@dataclass(frozen=True, eq=False)
class Remembering:
    """Draws noise, adds up what it remembers and lets it act on the weights: any leak of state or stream shows."""

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        state = client.state(self)
        state["visits"] = state.get("visits", 0) + 1
        noise = torch.randn(client.layout.num_parameters, generator=client.generator(self))
        client.weights += 1e-3 * state["visits"] * noise


def test_reversing_the_clients_order_changes_no_bit(
    federation: Callable[..., Federation], algorithm: Algorithm
) -> None:
    forward, backward = federation(algorithm, defense=Remembering()), federation(algorithm, defense=Remembering())
    for round_idx in range(3):
        forward.aggregate(forward.train(forward.start_round(round_idx)))
        backward.aggregate(backward.train(backward.start_round(round_idx)[::-1]))
    assert torch.equal(forward.server.weights, backward.server.weights)


def test_probes_of_every_kind_change_no_bit(federation: Callable[..., Federation], algorithm: Algorithm) -> None:
    plain, probed = federation(algorithm, defense=Remembering()), federation(algorithm, defense=Remembering())
    for round_idx in range(3):
        plain.aggregate(plain.train(plain.start_round(round_idx)))
        client_ids = probed.start_round(round_idx)
        for client_id in client_ids[:3]:
            states = probed.states.fork(client_id)
            visit = replace(probed.visit(client_id), states=states, purpose="audit", batch_size=1, keep=False)
            probed.runner.run(visit)
            bare = PluginHost()
            probed.runner.run(replace(visit, host=bare, purpose="control0", steps=1))
        probed.aggregate(probed.train(client_ids))
    assert torch.equal(plain.server.weights, probed.server.weights)


def test_a_run_leaves_the_global_generators_as_found(federation: Callable[..., Federation]) -> None:
    federated = federation()
    before = (random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state())  # type: ignore[index]
    federated.aggregate(federated.train(federated.start_round(0)))
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_streams_of_different_keys_differ_and_of_the_same_key_agree() -> None:
    keys: list[tuple[Any, ...]] = [("a", 1), ("a", "1"), ("a", 1, 2), ("a1",)]
    assert len({derived_seed(0, *key) for key in keys} | {derived_seed(1, "a", 1)}) == 5
    first = torch.rand(3, generator=generator(4, "mask"))
    assert torch.equal(first, torch.rand(3, generator=generator(4, "mask")))


def test_seeding_is_undone_when_the_block_raises() -> None:
    before = torch.get_rng_state()
    try:
        with seeded_globals(1, "x"):
            torch.rand(1)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_weights_and_masks_come_from_different_streams() -> None:
    # The same uniform numbers for both would keep exactly the most positive weights, and such a net never trains.
    weights = torch.rand(1000, generator=generator(0, "init")) - 0.5
    scores = torch.rand(1000, generator=generator(0, "server", 0, "pruner:random"))
    correlation = torch.corrcoef(torch.stack([weights, scores]))[0, 1]
    assert abs(float(correlation)) < 0.1


def test_probes_change_no_bit_of_a_stateful_pair_of_the_users_own(federation: Callable[..., Federation]) -> None:
    pair = FedLabPair(
        trainer_path="fedlab.contrib.algorithm.scaffold:ScaffoldSerialClientTrainer",
        handler_path="fedlab.contrib.algorithm.scaffold:ScaffoldServerHandler",
        form="update",
        extras=("dc",),
        vectors=("dc",),
        uniform=("dc",),
        handler_options={"lr": 1.0},
    )
    plain, probed, built_in = federation(pair), federation(pair), federation(Scaffold())
    for round_idx in range(3):
        for federated in (plain, built_in):
            federated.aggregate(federated.train(federated.start_round(round_idx)))
        client_ids = probed.start_round(round_idx)
        probed.runner.run(replace(probed.visit(client_ids[0]), purpose="audit", batch_size=1, keep=False))
        probed.aggregate(probed.train(client_ids))
    assert torch.equal(plain.server.weights, probed.server.weights)
    assert torch.equal(plain.server.weights, built_in.server.weights)
