"""What leaves a client that has trained: its upload, as its plugins and the algorithm make it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.errors import PluginError
from priprune_plugins.masks import applied, apply_, intersection
from priprune_plugins.messages import Client, Upload
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.buffers import BufferKeeper
from priprune_plugins.simulation.visits import Underway, Uploaded, Visit
from priprune_plugins.simulation.withheld import withheld_figures


class Departure:
    """Makes the uploads of one runner's clients.

    Args:
        algorithm: The FedLab algorithm.
        trainer: Its trainer.
        training: The clients' training.
        buffers: Batch-norm statistics.
    """

    def __init__(self, algorithm: Algorithm, trainer: Any, training: LocalTraining, buffers: BufferKeeper) -> None:
        self.algorithm = algorithm
        self.trainer = trainer
        self.training = training
        self.buffers = buffers

    def upload(self, underway: Underway, pack: list[Tensor]) -> Uploaded:
        """Run the hooks after training and return the upload; see ``ClientRunner.finish``."""
        pack = self.algorithm.corrected(pack, underway.client, self.training)
        edited = self._end(underway.visit, underway.client)
        return self._uploaded(underway, pack, edited)

    def _end(self, visit: Visit, client: Client) -> bool:
        """Run the hook, prune the weights, and return whether they may be others than the trainer read."""
        if not visit.host.implements("on_local_train_end"):
            return False
        mask = client.mask
        visit.host.on_local_train_end(client)
        edited = client.taken or client.mask is not mask
        if edited:
            apply_(client.vector, client.mask)
        return edited

    def _uploaded(self, underway: Underway, pack: list[Tensor], edited: bool) -> Uploaded:
        visit, client, trained = underway.visit, underway.client, pack[0]
        upload = self._upload(visit, client, pack, edited)
        client.ended = pack[0] if self.algorithm.codec.form == "weights" else None
        final = self._followed(client, upload, visit.host.before_upload(client, upload))
        present = intersection(client.mask, final.shared)
        encoded = self.algorithm.codec.encode(pack, upload.weights, final.weights, final.extras, client.received)
        as_trained = present is None and client.start is client.received and encoded[0] is trained
        if visit.keep and not as_trained:
            everywhere = torch.ones_like(client.vector, dtype=torch.bool) if present is None else present
            self.algorithm.settle(self.trainer, visit.client_id, underway.memory, encoded, everywhere)
        one_mask = client.mask is underway.began
        figures = withheld_figures(final, client.mask, client.start, client.vector, pruned=one_mask)
        return Uploaded(underway, final, encoded, present, figures)

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

    def _upload(self, visit: Visit, client: Client, pack: list[Tensor], edited: bool) -> Upload:
        codec = self.algorithm.codec
        extras: Mapping[str, Tensor] = codec.named_extras(pack)
        if edited:
            trained = pack[0]
            pack[0] = client.vector.clone() if codec.form == "weights" else client.vector - client.received
            # Without extras nobody asks what changed.
            extras = self.algorithm.edited(extras, pack[0] - trained, client, self.training) if extras else extras
        extras = {
            name: applied(extra, client.mask) if name in codec.vectors else extra for name, extra in extras.items()
        }
        return Upload(
            client_ids=(visit.client_id,),
            round_idx=visit.round_idx,
            num_samples=client.num_samples,
            weights=codec.weights(pack, client.received),
            extras={**extras, **client.sent},
            buffers=self.buffers.finish(visit.client_id, client.local_model, visit.keep),
        )
