"""One client's round, as it is asked for, while it trains, and when its upload is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from priprune_plugins.messages import Client, Upload
from priprune_plugins.plugins import PluginHost
from priprune_plugins.simulation.batches import ClientBatches
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.states import StateStore
from priprune_plugins.simulation.traffic import extras_bytes
from priprune_plugins.simulation.withheld import withheld_shares


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


@dataclass(frozen=True, eq=False)
class Underway:
    """A visit whose client is ready to train.

    Args:
        visit: What was asked for.
        client: The live client.
        batches: What it trains on.
        memory: What the trainer remembered of it before, where that may have to come back.
        offset: ``[D]`` what the server knows was added to each step's gradient, or None.
        began: The client's mask when training begins, or None.
    """

    visit: Visit
    client: Client
    batches: ClientBatches
    memory: dict[str, Any]
    offset: Tensor | None
    began: Tensor | None


@dataclass(frozen=True, eq=False)
class Uploaded:
    """A visit whose upload is made and whose figures are still on the device.

    Args:
        underway: The visit.
        upload: What leaves the client.
        pack: The same as the FedLab algorithm takes it.
        present: ``[D]`` bool, True where the client sent; None = everywhere.
        figures: ``[4]`` float64, see :func:`~priprune_plugins.simulation.withheld.withheld_figures`.
    """

    underway: Underway
    upload: Upload
    pack: list[Tensor]
    present: Tensor | None
    figures: Tensor

    def sent(self, figures: Sequence[float], loss: float | None) -> Sent:
        """Return what the visit leaves, given the numbers of ``figures`` and the mean training loss."""
        client = self.underway.client
        rate, mass = withheld_shares(self.upload, figures)
        return Sent(
            upload=self.upload,
            pack=self.pack,
            mask=client.mask,
            present=self.present,
            received=client.received,
            start=client.start,
            batches=self.underway.batches,
            loss=loss,
            withheld_rate=rate,
            gradient_mass_withheld=mass,
            extras_bytes=extras_bytes(self.upload),
            offset=self.underway.offset,
        )
