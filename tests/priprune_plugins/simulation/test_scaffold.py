"""SCAFFOLD's second element gives the update back: with a defence it must not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from priprune_plugins import Client, Upload, hookimpl
from priprune_plugins.plugins import Registered
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

STEPS, LR = 2, 0.1
OneRound = Callable[[Federation, int], list[Any]]


@dataclass(frozen=True, eq=False)
class WithholdMoving:
    """Withholds another third of the coordinates in each round and composes a stale start."""

    compose: bool = False

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        if self.compose:
            client.weights[::7] += 0.01

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload:
        return upload.withhold((torch.arange(upload.weights.numel()) + client.round_idx) % 3 == 0)


def defended(compose: bool = False) -> tuple[Registered, ...]:
    return (Registered("defenses", "moving", "defenses[0]:moving", WithholdMoving(compose)),)


def test_undefended_the_second_element_alone_gives_the_whole_update(
    federation: Callable[..., Federation], one_round: OneRound
) -> None:
    federated = federation(Scaffold())
    one_round(federated, 0)
    c = federated.handler.global_c.clone()
    for sent in federated.train(federated.start_round(1)):
        recovered = -(sent.upload.extras["dc"] + c) * STEPS * LR
        assert torch.allclose(recovered, sent.pack[0], atol=1e-6)


def test_defended_nothing_of_the_withheld_coordinates_can_be_computed(
    federation: Callable[..., Federation], one_round: OneRound
) -> None:
    federated = federation(Scaffold(), defended())
    one_round(federated, 0)
    for sent in federated.train(federated.start_round(1)):
        withheld = ~sent.upload.shared
        seen = torch.where(sent.upload.shared, sent.upload.extras["dc"], torch.zeros(()))
        recovered = -(seen + federated.handler.global_c) * STEPS * LR
        update = sent.pack[0]
        assert update[withheld].abs().sum() > 0
        # What is left is the server's own -c * steps * lr, the same for every client and known before the upload.
        assert torch.equal(recovered[withheld], (-(federated.handler.global_c) * STEPS * LR)[withheld])


def test_the_servers_variate_stays_the_mean_of_the_clients(
    federation: Callable[..., Federation], one_round: OneRound
) -> None:
    for plugins in ((), defended(), defended(compose=True)):
        federated = federation(Scaffold(), plugins)
        for round_idx in range(3):
            one_round(federated, round_idx)
        variates = [
            federated.states.algorithm(client_id).get("c", torch.zeros_like(federated.handler.global_c))
            for client_id in range(12)
        ]
        assert torch.allclose(federated.handler.global_c, torch.stack(variates).mean(0), atol=1e-5)


def test_a_jump_to_a_composite_start_is_no_gradient(federation: Callable[..., Federation]) -> None:
    federated = federation(Scaffold(), defended(compose=True))
    seen: list[Sent] = []
    federated.train(federated.start_round(0), seen.append)
    assert len(seen) == 10
    for sent in seen:
        local = sent.received + sent.pack[0]
        assert not torch.equal(sent.start, sent.received)
        # Algorithm 1, option II, in round 0 where c and c_i are 0: the new variate is (start - end) / (steps * lr).
        assert torch.allclose(sent.pack[1], (sent.start - local) / (STEPS * LR), atol=1e-5)
