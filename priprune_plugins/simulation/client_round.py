"""One client's round: broadcast in, hooks and FedLab's own training, upload out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.errors import PluginError
from priprune_plugins.generators import generator, seeded_globals
from priprune_plugins.masks import applied, apply_
from priprune_plugins.memory import keep_freed
from priprune_plugins.messages import Client, Evaluation, Facts, Split, Upload
from priprune_plugins.plugins import PluginHost
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.batches import ClientBatches, RoundDataset
from priprune_plugins.simulation.buffers import BufferKeeper, load_buffers_
from priprune_plugins.simulation.evaluation import evaluate
from priprune_plugins.simulation.sent import Sent, withheld_share
from priprune_plugins.simulation.states import StateStore
from priprune_plugins.simulation.steps import Steps
from priprune_plugins.simulation.traffic import extras_bytes
from priprune_plugins.simulation.training_start import pruned_start_


@dataclass(frozen=True, eq=False)
class Visit:
    """What makes one client's round different from the next.

    Args:
        client_id: The client.
        round_idx: The round.
        payload: What the server sends; element 0 is the broadcast ``[D]``.
        mask: The server's mask, or None.
        host: Plugins whose hooks run.
        states: Where they remember.
        purpose: Name of the random streams: ``client`` for training, ``audit`` and ``control`` for probes.
        batch_size: Images a step.
        steps: Steps, or None for ``epochs`` passes.
        keep: False for a probe: nothing that the client or the trainer remembers may change.
        observed: Whether the upload may be captured, and what the server knows of it is wanted.
        images: How many of the client's images batches are drawn from, the first ones; None = all.
    """

    client_id: int
    round_idx: int
    payload: Sequence[Tensor]
    mask: Tensor | None
    host: PluginHost
    states: StateStore
    purpose: str
    batch_size: int
    steps: int | None
    keep: bool = True
    observed: bool = False
    images: int | None = None


class ClientRunner:
    """Runs visits on one resident model.

    Args:
        algorithm: The FedLab algorithm.
        trainer: Its trainer, flat.
        training: The clients' training.
        data: Gives a client's images: ``client(client_id, split)``.
        facts: Public facts.
        buffers: Batch-norm statistics.
        seed: The scenario's seed.
        states: Where the algorithm's memories of the clients lie between their visits.
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
        self.initial = trainer.flat.clone()
        self._parameters = list(trainer.model.parameters())
        trainer.setup_dataset(self.dataset)
        keep_freed()

    def run(self, visit: Visit) -> Sent:
        """Run one client's round and return what it leaves."""
        with self._remembering(visit.client_id):
            sent = self._run(visit)
        self.states.clients.settle(visit.client_id)
        return sent

    @contextmanager
    def _remembering(self, client_id: int) -> Iterator[None]:
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
        batches = self._draw(visit)
        client = self.client(visit, batches.first, len(batches) * self._epochs(visit))
        remembers = self.algorithm.stateful or not visit.keep
        memory = self.algorithm.memory(self.trainer, visit.client_id) if remembers else {}
        known = self.algorithm.known_offset
        offset = known(self.trainer, visit.payload, visit.client_id) if visit.observed else None
        self._begin(visit, client)
        began = client.mask
        pack = self._train(visit, client)
        self._end(visit, client)
        sent = replace(self._sent(visit, client, pack, memory, batches, client.mask is began), offset=offset)
        if not visit.keep:
            self.algorithm.restore(self.trainer, visit.client_id, memory)
        elif not sent.finite:
            self._forget(visit, memory)
        return sent

    def _forget(self, visit: Visit, memory: dict[str, Any]) -> None:
        """Let a client whose upload cannot be used remember nothing of the round."""
        self.algorithm.restore(self.trainer, visit.client_id, memory)
        self.buffers.undo(visit.client_id)
        visit.states.forget_nonfinite(visit.client_id)

    def client(self, visit: Visit, batches: Sequence[tuple[Tensor, Tensor]], num_steps: int) -> Client:
        """Return the live client; its weights are the trainer's own and not yet loaded."""
        key = (visit.purpose, visit.round_idx, visit.client_id)
        return Client(
            client_id=visit.client_id,
            round_idx=visit.round_idx,
            num_steps=num_steps,
            num_samples=self.data.num_samples(visit.client_id),
            facts=self.facts_of(visit),
            received=visit.payload[0],
            weights=self.trainer.flat,
            mask=visit.mask,
            model=self.trainer.model,
            batches=batches,
            states=lambda plugin: visit.states.of(plugin, visit.client_id),
            generators=lambda plugin: generator(self.seed, *key, visit.host.key(plugin)),
            evaluate=lambda split: self.evaluate(visit.client_id, split),
            initial=self.initial,
        )

    def begin_setup(self, visit: Visit) -> Client:
        """Return a client that holds the broadcast and its batches and will not train."""
        client = self.client(visit, self._draw(visit).first, 0)
        self.load(visit)
        return client

    def evaluate(self, client_id: int, split: Split) -> Evaluation:
        """Return loss and accuracy of the trainer's current weights on a client's own data."""
        return evaluate(self.trainer.model, *self.data.client(client_id, split))

    def load(self, visit: Visit) -> None:
        """Load the broadcast and the statistics that a client starts from."""
        self.trainer.flat.copy_(visit.payload[0])
        load_buffers_(self.trainer.model, self.buffers.start(visit.client_id))

    def _draw(self, visit: Visit) -> ClientBatches:
        stream = generator(self.seed, visit.purpose, visit.round_idx, visit.client_id, "batches")
        images, labels = self.data.client(visit.client_id, "train")
        batches = ClientBatches(images[: visit.images], labels[: visit.images], visit.batch_size, visit.steps, stream)
        self.dataset.drawn = {visit.client_id: batches}
        return batches

    def facts_of(self, visit: Visit) -> Facts:
        """Return the public facts with this visit's own steps and batch size."""
        epochs = self.training.epochs if visit.steps is None else None
        return replace(self.facts, batch_size=visit.batch_size, local_steps=visit.steps, epochs=epochs)

    def _epochs(self, visit: Visit) -> int:
        return self.training.epochs if visit.steps is None else 1

    def _begin(self, visit: Visit, client: Client) -> None:
        self.load(visit)
        if not visit.host.implements("on_local_train_start"):
            return
        visit.host.on_local_train_start(client)
        client.start = pruned_start_(client.weights, client.mask, client.received, visit.mask)

    def _train(self, visit: Visit, client: Client) -> list[Tensor]:
        on_step = visit.host.on_local_step if visit.host.implements("on_local_step") else None
        # Where the optimiser's gradient is the plain one no vector has to be made of it.
        plain = (
            None if type(self.algorithm).plain_gradient is Algorithm.plain_gradient else self.algorithm.plain_gradient
        )
        steps = Steps(client, self._parameters, on_step, plain)
        self.trainer.model.train()
        self.trainer.epochs = self._epochs(visit)
        self.trainer.loaded, self.trainer.steps = True, steps
        with steps.active(), seeded_globals(self.seed, visit.purpose, visit.round_idx, visit.client_id, "training"):
            self.trainer.local_process(list(visit.payload), [visit.client_id])
        self.trainer.loaded, self.trainer.steps = False, None
        (pack,) = self.trainer.uplink_package
        # FedLab makes FedNova's tau on the CPU, whatever the model's device.
        pack = [element.to(client.weights.device) for element in pack]
        return self.algorithm.corrected(pack, client, self.training)

    def _end(self, visit: Visit, client: Client) -> None:
        if visit.host.implements("on_local_train_end"):
            visit.host.on_local_train_end(client)
            apply_(client.weights, client.mask)

    def _sent(
        self,
        visit: Visit,
        client: Client,
        pack: list[Tensor],
        memory: dict[str, Any],
        batches: ClientBatches,
        one_mask: bool,
    ) -> Sent:
        upload = self._upload(visit, client, pack)
        final = self._followed(client, upload, visit.host.before_upload(client, upload))
        present = _present(client.mask, final.shared)
        rate, mass = withheld_share(final, client.mask, client.start, client.weights, pruned=one_mask)
        encoded = self.algorithm.codec.encode(pack, upload.weights, final.weights, final.extras, client.received)
        if visit.keep and (present is not None or client.start is not client.received):
            everywhere = torch.ones_like(client.weights, dtype=torch.bool) if present is None else present
            self.algorithm.settle(self.trainer, visit.client_id, memory, encoded, everywhere)
        return Sent(
            upload=final,
            pack=encoded,
            mask=client.mask,
            present=present,
            received=client.received,
            start=client.start,
            batches=batches,
            loss=self.trainer.drained_loss(),
            withheld_rate=rate,
            gradient_mass_withheld=mass,
            extras_bytes=extras_bytes(final),
        )

    def _followed(self, client: Client, before: Upload, after: Upload) -> Upload:
        missing = [name for name in self.algorithm.codec.extras if name not in after.extras]
        if missing:
            raise PluginError(
                f"a defence dropped upload.extras[{missing[0]!r}], which the algorithm needs: withhold it"
            )
        if after.weights is before.weights:
            return after
        change = after.weights - before.weights
        return replace(after, extras=self.algorithm.edited(after.extras, change, client, self.training))

    def _upload(self, visit: Visit, client: Client, pack: list[Tensor]) -> Upload:
        codec = self.algorithm.codec
        extras: Mapping[str, Tensor] = codec.named_extras(pack)
        if visit.host.implements("on_local_train_end"):
            # The hook may have pruned or edited the weights after the trainer read them.
            trained = pack[0]
            pack[0] = client.weights.clone() if codec.form == "weights" else client.weights - client.received
            extras = self.algorithm.edited(extras, pack[0] - trained, client, self.training)
        extras = {
            name: applied(extra, client.mask) if name in codec.vectors else extra for name, extra in extras.items()
        }
        return Upload(
            client_ids=(visit.client_id,),
            round_idx=visit.round_idx,
            num_samples=client.num_samples,
            weights=codec.weights(pack, client.received),
            extras={**extras, **client.sent},
            buffers=self.buffers.finish(visit.client_id, self.trainer.model, visit.keep),
        )


def _present(mask: Tensor | None, shared: Tensor | None) -> Tensor | None:
    if mask is None or shared is None:
        return shared if mask is None else mask
    return mask & shared
