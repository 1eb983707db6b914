"""A visit as it travels to a worker, and what comes back: nothing that the other side can make itself."""

from dataclasses import dataclass, replace

from torch import Tensor

from priprune_plugins.simulation.broadcast import Broadcast
from priprune_plugins.simulation.buffers import Buffers
from priprune_plugins.simulation.client_round import ClientRunner, Visit
from priprune_plugins.simulation.client_states import States
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent


@dataclass(frozen=True, eq=False)
class Job:
    """One client's training visit.

    Args:
        client_id: The client.
        round_idx: The round.
        observed: Whether what the upload is measured against comes back too.
        states: What is remembered of the client.
        buffers: Its own batch-norm statistics, where it keeps any.
    """

    client_id: int
    round_idx: int
    observed: bool
    states: States
    buffers: Buffers | None

    @classmethod
    def of(cls, runner: ClientRunner, visit: Visit) -> "Job":
        """Return what a worker needs of a visit beside the broadcast."""
        own = runner.buffers.clients.get(visit.client_id)
        return cls(visit.client_id, visit.round_idx, visit.observed, visit.states.clients.open(visit.client_id), own)

    def carried_out(self, federation: Federation, broadcast: Broadcast) -> "Left":
        """Visit the client on a worker's own federation, which remembers nothing of it afterwards."""
        server, buffers = federation.server, federation.buffers
        server.round_idx, buffers.server = self.round_idx, broadcast.buffers
        clients = federation.states.clients
        clients.put(self.client_id, self.states)
        if self.buffers is not None:
            buffers.clients[self.client_id] = self.buffers
        visit = replace(
            federation.visit(self.client_id), payload=broadcast.payload, mask=broadcast.mask, observed=self.observed
        )
        sent = federation.runner.run(visit)
        return Left.of(sent, visit, clients.take(self.client_id), buffers.clients.pop(self.client_id, None))


@dataclass(frozen=True, eq=False)
class Left:
    """What a visit leaves, without what the driver has or makes itself.

    Args:
        sent: With ``received``, an unchanged ``mask`` and ``start``, and the batches left out.
        states: What is remembered of the client now.
        buffers: Its own batch-norm statistics, where it keeps any.
    """

    sent: Sent
    states: States
    buffers: Buffers | None

    @classmethod
    def of(cls, sent: Sent, visit: Visit, states: States, buffers: Buffers | None) -> "Left":
        """Leave out what does not have to travel."""
        # An upload's start is needed only where it is written into the audit.
        same_start = sent.start is sent.received or not visit.observed
        light = replace(
            sent,
            received=_NOTHING if sent.received is visit.payload[0] else sent.received,
            start=_NOTHING if same_start else sent.start,
            mask=_NOTHING if sent.mask is visit.mask else sent.mask,
            batches=_NO_BATCHES,
        )
        return cls(light, states, buffers)

    def taken_over(self, runner: ClientRunner, visit: Visit) -> Sent:
        """Return what the visit left, as if it had been carried out here, and remember the client's side."""
        sent = self.sent
        # Not the first element where the client chose among several models.
        received = visit.payload[0] if _absent(sent.received) else sent.received
        clients = runner.states.clients
        clients.put(visit.client_id, self.states)
        clients.settle(visit.client_id)
        if self.buffers is not None:
            runner.buffers.clients[visit.client_id] = self.buffers
        return replace(
            sent,
            received=received,
            start=received if _absent(sent.start) else sent.start,
            mask=visit.mask if _absent(sent.mask) else sent.mask,
            batches=runner.draw(visit),
        )


class _NoBatches:
    """Stands for batches that the other side draws anew."""

    batch_size = 0

    def distinct(self) -> tuple[Tensor, Tensor]:
        raise RuntimeError("the images of a visit do not travel")


_NOTHING = Tensor()
_NO_BATCHES = _NoBatches()


def _absent(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.numel() == 0
