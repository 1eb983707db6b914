"""One client's round: broadcast in, hooks and FedLab's own training, upload out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor

from priprune_plugins.generators import generator, seeded_globals
from priprune_plugins.memory import keep_freed
from priprune_plugins.messages import Client, Facts
from priprune_plugins.pending_start import PendingStart
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.batches import ClientBatches, RoundDataset
from priprune_plugins.simulation.buffers import BufferKeeper, load_buffers_
from priprune_plugins.simulation.departure import Departure
from priprune_plugins.simulation.evaluation import evaluate
from priprune_plugins.simulation.seat import Seat
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.states import StateStore
from priprune_plugins.simulation.steps import Steps
from priprune_plugins.simulation.training_start import start_
from priprune_plugins.simulation.visits import Underway, Uploaded, Visit

__all__ = ["ClientRunner", "Visit"]


class ClientRunner:
    """Runs visits on one resident model, one after the other; whoever trains several at once shares all but the steps.

    Args:
        algorithm: The FedLab algorithm.
        trainer: Its trainer, flat.
        training: The clients' training.
        data: Gives a client's images: ``client(client_id, split)``.
        facts: Public facts.
        buffers: Batch-norm statistics.
        seed: The scenario's seed.
        states: Where the algorithm's memories of the clients lie between their visits.

    Attributes:
        seat: The trainer's own model and weights.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        trainer: Any,
        training: LocalTraining,
        data: Any,
        facts: Facts,
        buffers: BufferKeeper,
        seed: int,
        states: StateStore,
    ) -> None:
        self.algorithm = algorithm
        self.trainer = trainer
        self.training = training
        self.data = data
        self.facts = facts
        self.buffers = buffers
        self.seed = seed
        self.states = states
        self.dataset = RoundDataset(lambda client_id: data.client(client_id, "train"), training.num_clients)
        self.seat = Seat(trainer.model, trainer.flat)
        self.initial = trainer.flat.clone()
        self._departure = Departure(algorithm, trainer, training, buffers)
        self._parameters = list(trainer.model.parameters())
        trainer.setup_dataset(self.dataset)
        keep_freed()

    def run(self, visit: Visit) -> Sent:
        """Run one client's round and return what it leaves."""
        with self.remembering(visit.client_id):
            sent = self._run(visit)
        self.states.clients.settle(visit.client_id)
        return sent

    @contextmanager
    def remembering(self, client_id: int) -> Iterator[None]:
        """Give the trainer what it keeps of a client for the length of a visit."""
        if not self.algorithm.stateful:
            yield
            return
        memory = self.states.algorithm(client_id)
        self.algorithm.restore(self.trainer, client_id, memory)
        yield
        memory.clear()
        memory.update(self.algorithm.held(self.trainer, client_id))
        self.algorithm.restore(self.trainer, client_id, {})

    def _run(self, visit: Visit) -> Sent:
        underway = self.start(visit, self.seat)
        uploaded = self.finish(underway, self._train(underway.visit, underway.client))
        return self.sent(uploaded, uploaded.figures.tolist(), self.trainer.drained_loss())

    def start(self, visit: Visit, seat: Seat) -> Underway:
        """Let a client receive the broadcast at ``seat`` and make its training ready; waits for no device.

        Whatever the trainer remembers of the client must be in it: see :meth:`remembering`.
        """
        visit = self.prepared(visit)
        batches = self.draw(visit)
        client = self.client(visit, batches.first, len(batches) * self.epochs(visit), seat)
        remembers = self.algorithm.stateful or not visit.keep
        memory = self.algorithm.memory(self.trainer, visit.client_id) if remembers else {}
        known = self.algorithm.known_offset
        offset = known(self.trainer, visit.payload, visit.client_id) if visit.observed else None
        self._begin(visit, client, seat)
        return Underway(visit, client, batches, memory, offset, client.mask)

    def finish(self, underway: Underway, pack: list[Tensor]) -> Uploaded:
        """Let a client that has trained upload.

        Args:
            underway: What :meth:`start` gave.
            pack: What the algorithm's trainer would upload.
        """
        return self._departure.upload(underway, pack)

    def sent(self, uploaded: Uploaded, figures: Sequence[float], loss: float | None) -> Sent:
        """Return what a visit leaves, and let the client forget a round that cannot be used, or that was a probe.

        Args:
            uploaded: What :meth:`finish` gave.
            figures: Its figures, read from the device.
            loss: Mean training loss, or None.
        """
        sent, visit = uploaded.sent(figures, loss), uploaded.underway.visit
        if not visit.keep:
            self.algorithm.restore(self.trainer, visit.client_id, uploaded.underway.memory)
        elif not sent.finite:
            self._forget(visit, uploaded.underway.memory)
        return sent

    def _forget(self, visit: Visit, memory: dict[str, Any]) -> None:
        """Let a client whose upload cannot be used remember nothing of the round."""
        self.algorithm.restore(self.trainer, visit.client_id, memory)
        self.buffers.undo(visit.client_id)
        visit.states.forget_nonfinite(visit.client_id)

    def client(
        self, visit: Visit, batches: Sequence[tuple[Tensor, Tensor]], num_steps: int, seat: Seat | None = None
    ) -> Client:
        """Return the live client; its weights are those of its seat, the trainer's own by default, not yet loaded."""
        seat = seat or self.seat
        key = (visit.purpose, visit.round_idx, visit.client_id)
        return Client(
            client_id=visit.client_id,
            round_idx=visit.round_idx,
            num_steps=num_steps,
            num_samples=self.data.num_samples(visit.client_id),
            facts=self.facts_of(visit),
            received=visit.payload[0],
            weights=seat.weights,
            mask=visit.mask,
            model=seat.model,
            batches=batches,
            states=lambda plugin: visit.states.of(plugin, visit.client_id),
            generators=lambda plugin: generator(self.seed, *key, visit.host.key(plugin)),
            evaluate=lambda split: evaluate(seat.model, *self.data.client(visit.client_id, split)),
            initial=self.initial,
        )

    def begin_setup(self, visit: Visit) -> Client:
        """Return a client that holds the broadcast and its batches and will not train."""
        client = self.client(visit, self.draw(visit).first, 0)
        self.load(visit)
        return client

    def prepared(self, visit: Visit) -> Visit:
        """Return a visit with what the client works from as its payload; may leave anything in the trainer's model."""
        if type(self.algorithm).prepared is Algorithm.prepared:
            return visit
        load_buffers_(self.trainer.model, self.buffers.start(visit.client_id))
        return replace(visit, payload=self.algorithm.prepared(self.trainer, visit.payload, visit.client_id))

    def load(self, visit: Visit, seat: Seat | None = None) -> None:
        """Load the broadcast and the statistics that a client starts from, into the trainer's model by default."""
        seat = seat or self.seat
        seat.weights.copy_(visit.payload[0])
        load_buffers_(seat.model, self.buffers.start(visit.client_id))

    def draw(self, visit: Visit) -> ClientBatches:
        """Return a visit's batches, the same ones each time; the trainer's data set gives them next."""
        stream = generator(self.seed, visit.purpose, visit.round_idx, visit.client_id, "batches")
        images, labels = self.data.client(visit.client_id, "train")
        batches = ClientBatches(images[: visit.images], labels[: visit.images], visit.batch_size, visit.steps, stream)
        self.dataset.drawn = {visit.client_id: batches}
        return batches

    def facts_of(self, visit: Visit) -> Facts:
        """Return the public facts with this visit's own steps and batch size."""
        epochs = self.training.epochs if visit.steps is None else None
        return replace(self.facts, batch_size=visit.batch_size, local_steps=visit.steps, epochs=epochs)

    def epochs(self, visit: Visit) -> int:
        """Return how often a client goes through its batches."""
        return self.training.epochs if visit.steps is None else 1

    def _begin(self, visit: Visit, client: Client, seat: Seat) -> None:
        if not visit.host.implements("on_local_train_start"):
            self.load(visit, seat)
            return
        load_buffers_(seat.model, self.buffers.start(visit.client_id))
        client.pending = PendingStart(seat.weights, visit.payload[0])
        visit.host.on_local_train_start(client)
        client.start = start_(client, visit.mask)

    def _train(self, visit: Visit, client: Client) -> list[Tensor]:
        on_step = visit.host.on_local_step if visit.host.implements("on_local_step") else None
        # Where the optimiser's gradient is the plain one no vector has to be made of it.
        plain = (
            None if type(self.algorithm).plain_gradient is Algorithm.plain_gradient else self.algorithm.plain_gradient
        )
        steps = Steps(client, self._parameters, on_step, plain)
        self.trainer.model.train()
        self.trainer.epochs = self.epochs(visit)
        self.trainer.loaded, self.trainer.steps = True, steps
        with steps.active(), seeded_globals(self.seed, visit.purpose, visit.round_idx, visit.client_id, "training"):
            self.trainer.local_process(list(visit.payload), [visit.client_id])
        self.trainer.loaded, self.trainer.steps = False, None
        (pack,) = self.trainer.uplink_package
        # FedLab makes FedNova's tau on the CPU, whatever the model's device.
        return [element.to(client.vector.device) for element in pack]
