"""Which uploads of a framework's rounds are kept for attacks, in the files that a run folder has for them.

The server keeps what it saw of a round; a client keeps what its upload showed and, apart, the truth behind it. In one
process all of it lies in one folder; of silos, whoever audits brings the files together.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from priprune_plugins.errors import ScenarioError
from priprune_plugins.facts import Facts
from priprune_plugins.messages import Server
from priprune_plugins.run.captures import CaptureStore, Group, upload_key
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.traffic import extras_bytes
from priprune_plugins.simulation.withheld import withheld_figures, withheld_shares

if TYPE_CHECKING:
    from priprune_plugins.bridges.task import Trained


@dataclass(frozen=True, eq=False)
class LeakCaptures:
    """Writes captures.

    Args:
        folder: The folder that holds ``captures/`` and ``audit/``.
        rounds: Rounds whose uploads are kept.
        clients: Ids of the clients whose uploads are kept; None = all.
        probe_images: Images of a probe: one more local step by plain gradient descent through the same hooks, on a copy
            of what the client remembers; it is attacked, never aggregated. None = the training's own uploads.
        max_gib: Stop keeping past this size.
    """

    folder: Path | str
    rounds: Collection[int] = (0,)
    clients: Collection[int] | None = None
    probe_images: int | None = 1
    max_gib: float = 10.0

    @cached_property
    def _store(self) -> CaptureStore:
        return CaptureStore(Path(self.folder), self.max_gib)

    def wants(self, round_idx: int, client_id: int | None = None) -> bool:
        """Whether uploads of a round are kept, those of one client where it is named."""
        known = self.clients is None or client_id is None or client_id in self.clients
        return round_idx in self.rounds and known

    def keep_server(self, server: Server, broadcast: Tensor, buffers: dict[str, Tensor]) -> None:
        """Keep the server's side of the current round, where it is wanted."""
        if self.wants(server.round_idx):
            self._store.write_server(server, broadcast, buffers)

    def keep(self, trained: "Trained", facts: Facts, group: Group, key: str | None = None) -> None:
        """Keep one upload and its truth.

        Args:
            trained: The upload with what is behind it.
            facts: Public facts of it.
            group: Who made it: ``training``, ``audit`` for a probe, or ``control``.
            key: File stem; None = that of its round and client.

        Raises:
            ScenarioError: The images are not what attacks reconstruct: in [0, 1], of the facts' shape.
        """
        images, _ = trained.batches.distinct()
        low, high = (float(bound) for bound in images.aminmax())
        if tuple(images.shape[1:]) != facts.image_shape or low < 0 or high > 1:
            raise ScenarioError(
                f"images must be {list(facts.image_shape)} in [0, 1], got {list(images.shape[1:])} in [{low:.3g}, "
                f"{high:.3g}]; standardise inside the model: priprune_plugins.models.standardise.Standardise"
            )
        self._store.write_upload(key or upload_key(trained.upload), group, _sent(trained), facts)


def _sent(trained: "Trained") -> Sent:
    upload = trained.upload
    end = trained.received if trained.end is None else trained.end
    rate, mass = withheld_shares(upload, withheld_figures(upload, trained.mask, trained.start, end).tolist())
    return Sent(
        upload=upload,
        pack=[upload.weights],
        mask=trained.mask,
        present=trained.present,
        received=trained.received,
        start=trained.start,
        batches=trained.batches,
        loss=None,
        withheld_rate=rate,
        gradient_mass_withheld=mass,
        extras_bytes=extras_bytes(upload),
    )
