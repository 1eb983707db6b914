"""SCAFFOLD's second element gives the update back: with a defence it must not."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from priprune_plugins import Client, Upload, hookimpl
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
    federated = federation(Scaffold(), defense=WithholdMoving())
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
    for defense in (None, WithholdMoving(), WithholdMoving(compose=True)):
        federated = federation(Scaffold(), defense=defense)
        for round_idx in range(3):
            one_round(federated, round_idx)
        variates = [
            federated.states.algorithm(client_id).get("c", torch.zeros_like(federated.handler.global_c))
            for client_id in range(12)
        ]
        assert torch.allclose(federated.handler.global_c, torch.stack(variates).mean(0), atol=1e-5)


def test_a_jump_to_a_composite_start_is_no_gradient(federation: Callable[..., Federation]) -> None:
    federated = federation(Scaffold(), defense=WithholdMoving(compose=True))
    seen: list[Sent] = []
    federated.train(federated.start_round(0), seen.append)
    assert len(seen) == 10
    for sent in seen:
        local = sent.received + sent.pack[0]
        assert not torch.equal(sent.start, sent.received)
        # Algorithm 1, option II, in round 0 where c and c_i are 0: the new variate is (start - end) / (steps * lr).
        assert torch.allclose(sent.pack[1], (sent.start - local) / (STEPS * LR), atol=1e-5)


def test_what_the_server_knows_of_scaffold_gives_the_clean_gradient(
    federation: Callable[..., Federation], one_round: OneRound
) -> None:
    gradients: dict[int, Tensor] = {}

    @dataclass(frozen=True, eq=False)
    class Keep:
        @hookimpl
        def on_local_step(self, client: Client) -> None:
            gradients[client.client_id] = client.loss_grad.clone()

    federated = federation(Scaffold(), defense=Keep(), steps=1)
    for round_idx in range(2):
        one_round(federated, round_idx)
    seen: list[Sent] = []
    federated.train(federated.start_round(2), seen.append)
    for sent in seen:
        assert sent.offset is not None
        recovered = -sent.pack[0] / 0.1 - sent.offset
        assert torch.allclose(recovered, gradients[sent.upload.client_ids[0]], atol=1e-5)


def test_noise_on_the_weights_is_not_undone_by_the_control_variate(federation: Callable[..., Federation]) -> None:
    @dataclass(frozen=True, eq=False)
    class Noise:
        @hookimpl
        def before_upload(self, client: Client, upload: Upload) -> Upload:
            noise = torch.randn(upload.weights.numel(), generator=client.generator(self))
            return replace(upload, weights=upload.weights + noise)

    federated = federation(Scaffold(), defense=Noise(), steps=1)
    federated.start_round(0)
    (sent,) = federated.train([1])
    from_dc = -sent.upload.extras["dc"] * 0.1
    assert torch.allclose(from_dc, sent.pack[0], atol=1e-5)
    assert sent.pack[0].std() > 0.9
