"""A bridge gives the host's bits: uploads of clients, masks and weights of the server, round after round."""

from typing import Any

import pytest
import torch

from priprune_plugins.bridges.client_side import ClientSide
from priprune_plugins.bridges.server_side import ServerSide
from priprune_plugins.bridges.setting import chosen
from priprune_plugins.simulation.aggregation import running_mean
from priprune_plugins.testing.federation import play

ROUNDS = 3
CASES = {
    "adaptive pruner, learned defence": {
        "pruner": {"name": "prunefl", "rate": 0.3, "initial": "magnitude", "every": 1},
        "defenses": [{"name": "priprune"}],
    },
    "clients' own starts": {
        "pruner": {"name": "magnitude", "rate": 0.5},
        "defenses": [{"name": "largest", "rate": 0.3, "keep_local": True}],
    },
    "random draws": {"defenses": [{"name": "random_withhold", "rate": 0.4}]},
    "nothing": {},
}


@pytest.mark.parametrize("case", CASES)
def test_rounds_through_a_bridge_have_the_bits_of_the_host(case: str, foreign: Any) -> None:
    played = play(chosen(CASES[case]), rounds=ROUNDS)
    setting = foreign.setting(CASES[case])
    client, server = ClientSide(setting), ServerSide(setting)
    for round_idx in range(ROUNDS):
        broadcast, states = server.start_round(round_idx), []
        sent = [one for one in played.sent if one.upload.round_idx == round_idx]
        for one in sent:
            (client_id,), samples = one.upload.client_ids, one.upload.num_samples
            trained, state = foreign.client(client, broadcast, client_id, one.batches.first, samples)
            assert torch.equal(trained.upload.weights, one.upload.weights)
            assert (trained.present is None) == (one.present is None)
            assert one.present is None or torch.equal(trained.present, one.present)
            states.append((samples, state))
        received = server.receive(states)
        shares = [amount / sum(n for n, _ in received) for amount, _ in received]
        # The framework's mean, summed in the host's order.
        server.aggregated({name: running_mean([s[name] for _, s in received], shares) for name in received[0][1]})
        assert not played.masks or torch.equal(server.server.mask, played.masks[round_idx])
    assert torch.equal(server.server.weights, played.server.weights)
