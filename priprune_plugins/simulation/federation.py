"""The server's side of a round: broadcast, clients in id order, FedLab's aggregation."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from priprune_plugins.errors import RunError
from priprune_plugins.generators import seeded_globals
from priprune_plugins.masks import applied
from priprune_plugins.messages import Evaluation, Upload
from priprune_plugins.simulation.accuracy import client_evaluation, server_evaluation
from priprune_plugins.simulation.buffers import BufferKeeper, load_buffers_
from priprune_plugins.simulation.client_round import Visit
from priprune_plugins.simulation.elsewhere import Elsewhere
from priprune_plugins.simulation.group_training import train_in_groups
from priprune_plugins.simulation.layer_density import MaskMeter
from priprune_plugins.simulation.round_mean import RoundMean
from priprune_plugins.simulation.secure_sums import secure_sums
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.setting import Setting
from priprune_plugins.simulation.setup_round import run_setup
from priprune_plugins.simulation.states import StateStore
from priprune_plugins.simulation.traffic import buffer_bytes, tensor_bytes


class Federation:
    """A FedLab handler and trainer driven round by round with hooks.

    Args:
        setting: What to build it from.

    Attributes:
        payload: What clients of the current round are sent; element 0 is the broadcast ``[D]``.
        meter: Knows the broadcasts' masks.
        elsewhere: The crew where clients live elsewhere, or None.
        lost: Uploads that never came, so far.
        sums: Forms groups, where a defence lets the server see sums only; else None.
        setup_extras: Bytes that all clients sent in the setup round, by extra.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.host = setting.host
        self.handler = setting.algorithm.handler(setting.model, setting.training, setting.rounds)
        self.buffers = BufferKeeper(setting.aggregation.buffers, setting.model)
        self.states = StateStore(self.host.key)
        self.runner = setting.runner(self.buffers, self.states)
        self.crew = setting.crew(self.runner)
        self.elsewhere = self.crew if isinstance(self.crew, Elsewhere) else None
        self.lost = 0
        self.server = setting.server(self.handler.flat, self.states)
        self.sums = secure_sums(setting, self.server)
        self._mean = RoundMean(setting, self.handler, self.server)
        self.setup_extras: dict[str, int] = {}
        self.payload: list[Tensor] = []
        self.meter = MaskMeter(setting.facts.layout)

    def start_round(self, round_idx: int) -> list[int]:
        """Run ``on_round_start``, make the broadcast and return the sampled clients in id order."""
        self.server.round_idx = round_idx
        self.host.on_round_start(self.server)
        self.broadcast()
        return self.sampled(round_idx)

    def sampled(self, round_idx: int) -> list[int]:
        """Return the clients of a round in id order."""
        with seeded_globals(self.setting.seed, "sample", round_idx):
            trainer = self.runner.trainer
            load_buffers_(trainer.model, self.buffers.server)
            return self.setting.algorithm.sample(self.handler, trainer, self.payload[0])

    def broadcast(self) -> None:
        """Make the payload of the current round from the server's weights and mask."""
        self.meter.follow(self.server.mask)
        self.payload = self._downlink()

    def _downlink(self) -> list[Tensor]:
        return self.setting.algorithm.codec.masked(self.handler.downlink_package, self.server.mask)

    def visit(self, client_id: int) -> Visit:
        """Return the training visit of a client in the current round."""
        return Visit(
            client_id=client_id,
            round_idx=self.server.round_idx,
            payload=self.payload,
            mask=self.server.mask,
            host=self.host,
            states=self.states,
            purpose="client",
            batch_size=self.setting.training.batch_size,
            steps=self.setting.steps,
        )

    def train(
        self,
        client_ids: Sequence[int],
        seen: Callable[[Sent], None] | None = None,
        wanted: Collection[int] | None = None,
    ) -> list[Sent]:
        """Let clients train in the order given, show each upload to the server, return those that are finite.

        What is returned holds what the aggregation needs; ``seen`` gets everything.

        Args:
            client_ids: In id order, unless the order itself is under test.
            seen: Called with each finite upload of these before the next client trains, or with each group's after the
                last; what is behind an upload is known of these only.
            wanted: Whose uploads ``seen`` gets; None = everybody's.

        Raises:
            RunError: An upload is not finite and ``aggregation.nonfinite`` is ``stop``.
        """
        observed = frozenset(client_ids if wanted is None else wanted) if seen is not None else frozenset()
        if self.sums is not None:
            return train_in_groups(self, self.sums, client_ids, seen if observed else None)
        received: list[Sent] = []
        for sent in self.trained(client_ids, observed):
            self.host.on_server_receive(self.server, sent.upload)
            if seen is not None and observed.issuperset(sent.upload.client_ids):
                seen(sent)
            received.append(sent.to_aggregate(self.setting.algorithm.codec.extras))
        return sorted(received, key=lambda sent: sent.upload.client_ids)

    def trained(self, client_ids: Sequence[int], observed: Collection[int]) -> Iterator[Sent]:
        """Let clients train, in the order given, and yield what each sends; what is not finite is dropped."""
        visits = [replace(self.visit(client_id), observed=client_id in observed) for client_id in client_ids]
        for client_id, sent in zip(client_ids, self.crew.run(visits), strict=True):
            if sent is None:
                self.lost += 1
            elif sent.finite:
                yield sent
            else:
                self._refuse(client_id)

    def _refuse(self, client_id: int) -> None:
        if self.setting.aggregation.nonfinite == "stop":
            round_idx = self.server.round_idx
            raise RunError(
                f"round {round_idx}, client {client_id}: the upload holds NaN or infinity; lower algorithm.lr, or let "
                "aggregation.nonfinite: drop go on without it"
            )

    def aggregate(self, received: Sequence[Sent]) -> None:
        """Hand the uploads to the FedLab handler; without any the weights stay."""
        if received:
            self._mean.take(received)
            self.buffers.aggregate([sent.upload.buffers for sent in received], self._mean.shares(received))
        self.host.on_aggregate_end(self.server)
        # The resident model still holds the last client's weights, withheld ones included.
        self.runner.trainer.flat.copy_(self.current())
        self.buffers.reestimate(self.runner.trainer.model, self.server.public)

    def setup(self) -> list[Upload]:
        """Run the setup round, where any plugin has one, and return what was received, a group's once for each client.

        A plugin with an ``on_setup_round`` may say in ``setup_clients`` which clients must take part: ids, ``()`` for
        none, None (or no such attribute) for a sampled round.
        """
        return run_setup(self)

    def test(self) -> Evaluation:
        """Return loss and accuracy of what the server would broadcast now, on the global test set.

        Under ``buffers: local`` nobody holds statistics for the global model: the mean over the clients that have
        their own is given.
        """
        return server_evaluation(self)

    def test_clients(self, client_ids: Sequence[int]) -> list[Evaluation]:
        """Return :meth:`test_client` of each; without those that are lost."""
        payload = self._downlink()
        if self.elsewhere is None:
            return [self.test_client(client_id, payload) for client_id in client_ids]
        visits = [replace(self.visit(client_id), payload=payload) for client_id in client_ids]
        return [found for found in self.elsewhere.evaluate(visits) if found is not None]

    def test_client(self, client_id: int, payload: list[Tensor] | None = None) -> Evaluation:
        """Return loss and accuracy of the weights that a client would use, on its own test images.

        Args:
            client_id: The client.
            payload: What the server would broadcast; None = what this process's server would.
        """
        return client_evaluation(self, client_id, self._downlink() if payload is None else payload)

    def current(self) -> Tensor:
        """Return what the server would broadcast now, ``[D]``."""
        return applied(self.server.weights, self.server.mask)

    @property
    def mask_changed(self) -> bool:
        """Whether the server's mask differs from that of the broadcast before."""
        return self.meter.changed

    def traffic(self, received: Sequence[Sent]) -> tuple[int, int]:
        """Return the round's bytes up and down; a broadcast is counted once for each client that trained."""
        up = sum(sent.bytes_up for sent in received)
        return up, self.bytes_down() * len(received)

    def bytes_down(self) -> int:
        """Return the bytes of this round's broadcast to one client; the mask travels where it changed."""
        size, mask = self.server.layout.num_parameters, self.meter.last
        kept = size if mask is None else int(mask.count_nonzero())
        changed = -(-size // 8) if self.meter.changed else 0
        sent = self.setting.algorithm.newest(self.payload)
        return tensor_bytes(sent, size, kept) + buffer_bytes(self.buffers.server) + changed

    def masks_of(self, received: Sequence[Sent]) -> dict[str, Any]:
        """Return ``density`` and ``layer_density``, means over clients, and ``mask_change`` of the server's mask."""
        return self.meter.measure([sent.mask for sent in received])
