"""Who takes part in the setup round, and by which path its uploads go."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from priprune_plugins import Client, Upload, hookimpl
from priprune_plugins.simulation.federation import Federation


def test_scores_of_the_setup_round_pass_defence_and_server(federation: Callable[..., Federation]) -> None:
    seen: list[Upload] = []

    @dataclass(frozen=True, eq=False)
    class Scores:
        @hookimpl
        def on_setup_round(self, client: Client) -> None:
            client.send("scores", client.weights.abs())

        @hookimpl
        def before_upload(self, upload: Upload) -> Upload:
            return upload.withhold(torch.arange(upload.weights.numel()) < 5)

        @hookimpl
        def on_server_receive(self, upload: Upload) -> None:
            seen.append(upload)

    federated = federation(defense=Scores())
    federated.setup()
    assert len(seen) == 10
    assert {upload.round_idx for upload in seen} == {-1}
    assert seen[0].shared is not None
    assert not seen[0].shared[:5].any()
    assert torch.equal(seen[0].extras["scores"][5:], federated.server.weights.abs()[5:])
    assert not seen[0].extras["scores"][:5].any()


@pytest.mark.parametrize(("wanted", "expected"), [((), []), ((3, 0), [0, 3])])
def test_a_plugin_says_which_clients_the_setup_round_needs(
    federation: Callable[..., Federation], wanted: tuple[int, ...], expected: list[int]
) -> None:
    visited: list[tuple[int, int]] = []

    @dataclass(frozen=True, eq=False)
    class Chosen:
        setup_clients = wanted

        @hookimpl
        def on_setup_round(self, client: Client) -> None:
            visited.append((client.client_id, len(client.batches)))

    federation(defense=Chosen()).setup()
    # 125 images a client make six full batches of 20.
    assert visited == [(client_id, 6) for client_id in expected]
