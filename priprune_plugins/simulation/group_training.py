"""A round whose uploads the server sees as sums over groups only."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from priprune_plugins.simulation.secure_sums import SecureSums
from priprune_plugins.simulation.sent import Sent

if TYPE_CHECKING:
    from priprune_plugins.simulation.federation import Federation


def train_in_groups(
    federation: "Federation",
    sums: SecureSums,
    client_ids: Sequence[int],
    seen: Callable[[Sent], None] | None,
) -> list[Sent]:
    """Let the clients train, in id order, and return each group's mean once for each of its clients.

    Args:
        federation: Its round has been started.
        sums: Forms the groups.
        client_ids: Who trains.
        seen: Called with each group's upload after the last client.
    """
    client_ids = sorted(client_ids)
    memories: dict[int, dict[str, Any]] = {}
    if federation.setting.algorithm.stateful:
        memories = {client_id: deepcopy(dict(federation.states.algorithm(client_id))) for client_id in client_ids}
    sent = federation.trained(client_ids, () if seen is None else client_ids)
    held = [one if seen is not None else replace(one, start=one.received) for one in sent]
    received: list[Sent] = []
    for group in sums.groups(held):
        federation.host.on_server_receive(federation.server, group.sent.upload)
        if seen is not None:
            seen(group.sent)
        received += group.members
    arrived = {client_id for sent in received for client_id in sent.upload.client_ids}
    for client_id in memories.keys() - arrived:
        _take_back(federation, client_id, memories[client_id])
    return received


def _take_back(federation: "Federation", client_id: int, memory: dict[str, Any]) -> None:
    """Let the algorithm forget the round of a client whose upload was lost: what all remember must add up."""
    live = federation.states.algorithm(client_id)
    live.clear()
    live.update(memory)
    federation.states.clients.settle(client_id)
