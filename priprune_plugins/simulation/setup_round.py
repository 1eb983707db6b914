"""The setup round: before round 0 clients send what a pruner asks for, by the same path as any upload."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from priprune_plugins.messages import Upload
from priprune_plugins.simulation.secure_sums import SecureSums
from priprune_plugins.simulation.traffic import extras_bytes, summed

if TYPE_CHECKING:
    from priprune_plugins.simulation.federation import Federation

SETUP_ROUND = -1
# As many as PruneFL's official first stage draws at its one client.
SETUP_BATCHES = 10


def run_setup(federation: "Federation") -> list[Upload]:
    """Return what was received, a group's upload once for each of its clients; empty where no plugin has a setup."""
    wishes = [getattr(plugin, "setup_clients", None) for plugin in federation.host.implementing("on_setup_round")]
    if all(wish == () for wish in wishes):
        return []
    federation.server.round_idx = SETUP_ROUND
    federation.broadcast()
    sampled = federation.sampled(SETUP_ROUND) if None in wishes else []
    clients = sorted({*sampled, *(c for w in wishes for c in w or ())})
    if federation.sums is not None:
        return _in_groups(federation, federation.sums, clients)
    uploads = []
    for upload in _uploads(federation, clients):
        federation.host.on_server_receive(federation.server, upload)
        uploads.append(upload)
    federation.setup_extras = summed(map(extras_bytes, uploads))
    return uploads


def _in_groups(federation: "Federation", sums: SecureSums, clients: list[int]) -> list[Upload]:
    groups = sums.setup(list(_uploads(federation, clients)))
    for upload, _ in groups:
        federation.host.on_server_receive(federation.server, upload)
    federation.setup_extras = summed(extras for upload, extras in groups for _ in upload.client_ids)
    return [upload for upload, _ in groups for _ in upload.client_ids]


def _uploads(federation: "Federation", clients: list[int]) -> Iterator[Upload]:
    if federation.elsewhere is None:
        yield from (setup_upload(federation, client_id) for client_id in clients)
        return
    asked = federation.elsewhere.setup([federation.visit(client_id) for client_id in clients])
    yield from (upload for upload in asked if upload is not None)


def setup_upload(federation: "Federation", client_id: int) -> Upload:
    """Return what a client sends in the setup round; its federation's payload and server mask are the broadcast."""
    passes = federation.setting.data.num_samples(client_id) // federation.setting.training.batch_size
    visit = replace(federation.visit(client_id), steps=max(1, min(SETUP_BATCHES, passes)))
    client = federation.runner.begin_setup(visit)
    federation.host.on_setup_round(client)
    upload = Upload(
        client_ids=(client_id,),
        round_idx=SETUP_ROUND,
        num_samples=client.num_samples,
        weights=client.received.clone(),
        extras=dict(client.sent),
    )
    upload = federation.host.before_upload(client, upload)
    federation.states.clients.settle(client_id)
    return upload
