"""Release: each coordinate leaves at a random time, as the sum of all updates since it last left.

Not from a paper. Error feedback is due to Seide, Fu, Droppo, Li, Yu, "1-Bit Stochastic Gradient Descent and its
Application to Data-Parallel Distributed Training of Speech DNNs", INTERSPEECH 2014; there it makes good what
compression loses, here what is withheld for privacy.
"""

import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from priprune_defenses.bernoulli import flips
from priprune_defenses.descent import layer_sizes
from priprune_defenses.error_feedback import OLDEST, Held, dither_, gap_after, hold_, layer_rms, released, ripe
from priprune_defenses.held_extras import mixed_extras
from priprune_defenses.release_company import check_company
from priprune_defenses.release_record import MIXED, mixing, record_entry, remember
from priprune_defenses.release_warnings import note_images, warn_of_images, warn_of_setup
from priprune_defenses.streams import substream
from priprune_plugins import Client, Index, NonNegative, Run, Server, Upload, hookimpl

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Release:
    """Withhold for ``gap`` participations at least, then send the sum of the updates with probability ``hazard``.

    The share withheld tends to ``1 - 1 / (gap + 1 / hazard)``; a number sent mixes ``gap + 1`` participations at least
    and ``gap + 1 / hazard`` on average. Training starts from the broadcast itself, so there are no stale weights of a
    client's own to be known. A client whose images fit in fewer than ``gap + 1 / hazard`` batches mixes the same images
    with themselves and is warned of. It does not hide which image was trained on from somebody who holds candidates.

    Sums that come late are steps along old gradients, which overshoot where the loss is curved sharply, above all in
    the first rounds. FEMNIST, 100 writers, ``mini``, magnitude .3, lr .1, seed 0, after 1,500 rounds: 85% undefended,
    83% with the default, and with a gap of 3 chance, or 82% after a ``warmup`` of 30. See ``defenses/README.md``.

    What a client sent counts as sent only where the whole upload is finite: the host drops any other. A setup round is
    not protected: nothing is trained in it.

    Args:
        gap: Participations for which a coordinate is held at least, from 0 to 126. A larger one mixes more and delays
            more: above 1 it needs a ``warmup``, see above.
        hazard: Probability to be sent in each participation after those, in (0, 1].
        dither: Deviation of the Gaussian noise on what is sent, in units of the layer's root mean square update. It
            does not enter what is held.
        hide: Send every coordinate, a withheld one as the broadcast, so that with ``dither`` none looks withheld.
        warmup: Participations of a client over which its gap grows evenly from 1 to ``gap``. Until then it mixes less:
            two participations at least, from the first on.

    Raises:
        ScenarioError: ``gap`` is above 126; or at the start of the run, it stands beside what it cannot work with.
    """

    gap: Annotated[int, Field(ge=0, le=OLDEST)] = 1
    hazard: Annotated[float, Field(gt=0, le=1)] = 0.5
    dither: NonNegative = 1.0
    hide: bool = True
    warmup: Index = 0

    @property
    def cycle(self) -> float:
        """Participations from one release of a coordinate to the next, on average."""
        return self.gap + 1 / self.hazard

    @property
    def withholds_openly(self) -> bool:
        """False where a withheld coordinate leaves as the broadcast: no mask is withheld by then."""
        return not self.hide

    def check_scenario(self, scenario: Mapping[str, Any]) -> None:
        """Refuse what it cannot be combined with."""
        check_company(scenario)

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Refuse what it cannot be combined with, and say which option does nothing."""
        self.check_scenario(run.scenario)
        if self.warmup and self.gap < 2:
            _logger.warning(
                "release: warmup: %d does nothing with gap: %d: the gap grows from 1 to gap; give a larger gap, or "
                "leave warmup out",
                *(self.warmup, self.gap),
            )

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload | None:
        """Send what is due and hold the rest."""
        if client.round_idx < 0:
            return None
        state = client.state(self)
        held, taken = _held(state, client.weights), state.get("taken", 0)
        gap = gap_after(taken, self.gap, self.warmup)
        release = self._release(client, upload, held, gap)
        extras, remembered = mixed_extras(upload.extras, state, release, gap + 1, client.layout)
        extras[MIXED] = mixing(held.age, release, client.mask)
        final = replace(self._sent(client, upload, held, release), extras=extras)
        if _finite(final):
            hold_(held, upload.weights, client.start, release, client.mask)
            state.update(remembered, residual=held.residual, age=held.age, taken=taken + 1)
        return final

    @hookimpl
    def on_server_receive(self, server: Server, upload: Upload) -> None:
        """Collect how many batches were mixed, which the client says and which depends on no data."""
        state = server.state(self)
        if upload.round_idx < 0:
            warn_of_setup(state)
        if MIXED in upload.extras:
            remember(state, upload, server.facts.batch_size * self.cycle)
            note_images(state, upload)

    @hookimpl
    def on_round_end(self, server: Server, record: MutableMapping[str, Any]) -> None:
        """Add ``release`` to the round's record; in the first round that gives reason to, warn of repeated images."""
        first = gap_after(0, self.gap, self.warmup) + 1 / self.hazard
        warn_of_images(server.state(self), server.facts.batch_size, first, self.cycle)
        record["release"] = record_entry(server.state(self))

    def _release(self, client: Client, upload: Upload, held: Held, gap: int) -> Tensor:
        heads = flips(held.age.numel(), self.hazard, substream(client.generator(self), 0)).to(held.age.device)
        release = heads & ripe(held.age, gap)
        for allowed in (client.mask, upload.shared):
            release = release if allowed is None else release & allowed
        return release

    def _sent(self, client: Client, upload: Upload, held: Held, release: Tensor) -> Upload:
        weights = released(upload.weights, client.received, held, release, client.mask)
        if self.dither:
            sizes = layer_sizes(client.layout, client.mask)
            deviations = [self.dither * rms for rms in layer_rms(upload.weights, client.start, client.layout, sizes)]
            dither_(weights, client.mask, client.layout, deviations, substream(client.generator(self), 1))
        sent = replace(upload, weights=weights)
        return sent if self.hide else sent.withhold(~release if client.mask is None else client.mask & ~release)


def _held(state: Mapping[str, Any], like: Tensor) -> Held:
    if "residual" not in state:
        return Held.nothing(like)
    return Held(state["residual"].to(like.device), state["age"].to(like.device))


def _finite(upload: Upload) -> bool:
    tensors = [upload.weights, *upload.extras.values(), *upload.buffers.values()]
    return all(bool(torch.isfinite(tensor.sum())) for tensor in tensors if tensor.is_floating_point())
