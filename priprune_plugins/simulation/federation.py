"""The server's side of a round: broadcast, clients in id order, FedLab's aggregation."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from priprune_plugins.errors import RunError
from priprune_plugins.generators import generator, seeded_globals
from priprune_plugins.masks import applied, apply_
from priprune_plugins.messages import Evaluation, Facts, LabelledSet, Server, Upload
from priprune_plugins.plugins import PluginHost
from priprune_plugins.scenario.sections import AggregationSection
from priprune_plugins.simulation.aggregation import Absent, fill_absent, filled_mean, normalised, unsent, weighted_mean
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.buffers import BufferKeeper, load_buffers_
from priprune_plugins.simulation.client_round import ClientRunner, Visit
from priprune_plugins.simulation.crew import MakeCrew, OneByOne
from priprune_plugins.simulation.elsewhere import Elsewhere
from priprune_plugins.simulation.evaluation import evaluate
from priprune_plugins.simulation.flat_fedlab import only_averages
from priprune_plugins.simulation.group_training import train_in_groups
from priprune_plugins.simulation.layer_density import MaskMeter, changed_share
from priprune_plugins.simulation.secure_sums import SecureSums
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.setup_round import run_setup
from priprune_plugins.simulation.states import StateStore
from priprune_plugins.simulation.sum_codec import SumCodec
from priprune_plugins.simulation.summable import check_summable
from priprune_plugins.simulation.traffic import buffer_bytes, tensor_bytes


@dataclass(frozen=True, eq=False)
class Setting:
    """Everything that a federation is built from.

    Args:
        algorithm: The FedLab algorithm.
        training: The clients' training.
        steps: Local steps, or None for ``training.epochs`` passes.
        rounds: Rounds in all.
        model: Initialised model on the run's device.
        data: ``FederatedImages``: clients' images, the global test set, the public set.
        facts: Public facts.
        host: All plugins.
        aggregation: The scenario's section.
        absent: Policy for coordinates that were not sent, after the pruner's own choice.
        seed: The scenario's seed.
        crew: Makes the one who carries out visits, from the runner of this process.
    """

    algorithm: Algorithm
    training: LocalTraining
    steps: int | None
    rounds: int
    model: nn.Module
    data: Any
    facts: Facts
    host: PluginHost
    aggregation: AggregationSection
    absent: Absent
    seed: int
    crew: MakeCrew = OneByOne


class Federation:
    """A FedLab handler and trainer driven round by round with hooks.

    Args:
        setting: What to build it from.

    Attributes:
        last_mask: ``[D]`` bool, the mask of the last broadcast, or None.
        elsewhere: The crew where clients live elsewhere, or None.
        lost: Uploads that never came, so far.
        sums: Forms groups, where a defence lets the server see sums only; else None.
        setup_extras: Bytes that all clients sent in the setup round, by extra.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.host = setting.host
        algorithm, training = setting.algorithm, setting.training
        self.handler = algorithm.handler(setting.model, training, setting.rounds)
        self.buffers = BufferKeeper(setting.aggregation.buffers, setting.model)
        self.states = StateStore(self.host.key)
        self.runner = ClientRunner(
            algorithm=algorithm,
            trainer=algorithm.trainer(setting.model, training),
            training=training,
            data=setting.data,
            facts=setting.facts,
            buffers=self.buffers,
            seed=setting.seed,
            states=self.states,
        )
        self.crew = setting.crew(self.runner)
        self.elsewhere = self.crew if isinstance(self.crew, Elsewhere) else None
        self.lost = 0
        self.server = Server(
            facts=setting.facts,
            weights=self.handler.flat,
            public=setting.data.public,
            states=lambda plugin: self.states.of(plugin, None),
            generators=lambda plugin, round_idx: generator(setting.seed, "server", round_idx, self.host.key(plugin)),
        )
        self.sums = self._secure_sums(setting)
        self.setup_extras: dict[str, int] = {}
        self.payload: list[Tensor] = []
        self.meter = MaskMeter(setting.facts.layout)
        self.mask_changed = False
        self._mask_change = 0.0
        self._sent_mask: Tensor | None = None
        self.last_mask: Tensor | None = None

    def _secure_sums(self, setting: Setting) -> SecureSums | None:
        section = setting.aggregation
        check_summable(self.host, setting.algorithm, setting.training, setting.steps, setting.absent, section.weighting)
        if not self.host.implements("sum_uploads"):
            return None
        return SecureSums(self.host, self.server, SumCodec(setting.algorithm.codec, section.weighting))

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
        mask = self.server.mask
        self.mask_changed = not _same(mask, self.last_mask)
        prunable = self.server.layout.prunable
        self._mask_change = changed_share(self.last_mask, mask, prunable) if self.mask_changed else 0.0
        self._sent_mask = mask
        if self.mask_changed:
            self.last_mask = None if mask is None else mask.clone()
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
            for part in self.setting.algorithm.parts(self.handler, received):
                self._aggregate(part)
            self.buffers.aggregate([sent.upload.buffers for sent in received], self._shares(received))
        self.host.on_aggregate_end(self.server)
        # The resident model still holds the last client's weights, withheld ones included.
        self.runner.trainer.flat.copy_(self._current())
        self.buffers.reestimate(self.runner.trainer.model, self.server.public)

    def _aggregate(self, received: Sequence[Sent]) -> None:
        section, codec, shares = self.setting.aggregation, self.setting.algorithm.codec, self._shares(received)
        if section.sum == "running" and codec.form == "weights" and only_averages(self.handler):
            self._average(received, shares)
            return
        packs = fill_absent(
            [self._reopened(sent) for sent in received],
            [sent.present for sent in received],
            codec,
            self.server.weights,
            self.setting.absent,
            shares,
        )
        kept = None if self.setting.absent == "zeros" else unsent([sent.present for sent in received])
        before = None if kept is None else self.server.weights[kept]
        with weighted_mean(packs, codec, shares, section.weighting, section.sum):
            self.handler.load_round(packs, shares)
        if kept is not None and before is not None:
            # A mean of equal values differs in the last bits, which would drift over thousands of rounds.
            self.server.weights[kept] = before

    def _average(self, received: Sequence[Sent], shares: Sequence[float]) -> None:
        """Aggregate where that is a mean of weights: what is absent is filled while it is added up."""
        section, codec = self.setting.aggregation, self.setting.algorithm.codec
        packs, present = [sent.pack for sent in received], [sent.present for sent in received]
        vectors = [pack[0] for pack in packs]
        mean = filled_mean(vectors, present, self.server.weights, self.setting.absent, shares)
        with weighted_mean(packs, codec, shares, section.weighting, section.sum, mean):
            self.handler.load_round(packs, shares)

    def _shares(self, received: Sequence[Sent]) -> list[float]:
        # A group's mean stands once for each of its clients.
        amounts = [sent.upload.num_samples / len(sent.upload.client_ids) for sent in received]
        return normalised(amounts, self.setting.aggregation.weighting)

    def _reopened(self, sent: Sent) -> list[Tensor]:
        """Return the pack against the server's dense weights, which an update is added to.

        A coordinate that the broadcast pruned and the client re-opened started from 0 there, not from the dense weight.
        """
        mask = self.server.mask
        if mask is None or self.setting.algorithm.codec.form == "weights":
            return sent.pack
        reopened = ~mask if sent.present is None else sent.present & ~mask
        if not bool(reopened.any()):
            return sent.pack
        return [sent.pack[0] + applied(sent.received - self.server.weights, reopened), *sent.pack[1:]]

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
        test: LabelledSet = self.setting.data.test
        model = self.runner.trainer.model
        self.runner.trainer.flat.copy_(self._current())
        holders = list(self.buffers.clients.values()) or [self.buffers.server]
        results = []
        for buffers in holders:
            load_buffers_(model, buffers)
            results.append(evaluate(model, test.images, test.labels))
        mean_loss = sum(result.loss for result in results) / len(results)
        return Evaluation(mean_loss, sum(result.accuracy for result in results) / len(results), len(test))

    def test_clients(self, client_ids: Sequence[int]) -> list[Evaluation]:
        """Return :meth:`test_client` of each; without those that are lost."""
        if self.elsewhere is None:
            return [self.test_client(client_id) for client_id in client_ids]
        payload = self._downlink()
        visits = [replace(self.visit(client_id), payload=payload) for client_id in client_ids]
        return [found for found in self.elsewhere.evaluate(visits) if found is not None]

    def test_client(self, client_id: int, payload: list[Tensor] | None = None) -> Evaluation:
        """Return loss and accuracy of the weights that a client would use, on its own test images.

        Args:
            client_id: The client.
            payload: What the server would broadcast; None = what this process's server would.
        """
        payload = self._downlink() if payload is None else payload
        visit = self.runner.prepared(replace(self.visit(client_id), payload=payload))
        client = self.runner.client(visit, (), 0)
        self.runner.load(visit)
        own = self._personal(client_id)
        if own is not None:
            client.weights = own
        self.host.on_client_evaluate(client)
        apply_(client.weights, client.mask)
        evaluation = client.evaluate("test")
        self.states.clients.settle(client_id)
        return evaluation

    def _personal(self, client_id: int) -> Tensor | None:
        algorithm = self.setting.algorithm
        return algorithm.personal(self.states.algorithm(client_id)) if algorithm.stateful else None

    def _current(self) -> Tensor:
        return applied(self.server.weights, self.server.mask)

    def traffic(self, received: Sequence[Sent]) -> tuple[int, int]:
        """Return the round's bytes up and down; a broadcast is counted once for each client that trained."""
        up = sum(sent.bytes_up for sent in received)
        return up, self.bytes_down() * len(received)

    def bytes_down(self) -> int:
        """Return the bytes of this round's broadcast to one client; the mask travels where it changed."""
        size, mask = self.server.layout.num_parameters, self.last_mask
        kept = size if mask is None else int(mask.count_nonzero())
        changed = -(-size // 8) if self.mask_changed else 0
        return tensor_bytes(self.payload, size, kept) + buffer_bytes(self.buffers.server) + changed

    def masks_of(self, received: Sequence[Sent]) -> dict[str, Any]:
        """Return ``density`` and ``layer_density``, means over clients, and ``mask_change`` of the server's mask."""
        masks = [self.last_mask if sent.mask is self._sent_mask else sent.mask for sent in received]
        measured = self.meter.measure(masks, self.last_mask, self.mask_changed)
        return {**measured, "mask_change": self._mask_change}


def _same(left: Tensor | None, right: Tensor | None) -> bool:
    return left is right if left is None or right is None else torch.equal(left, right)
