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
from priprune_defenses.error_feedback import OLDEST, Held, dither_, hold_, layer_rms, released, ripe
from priprune_defenses.held_extras import mixed_extras
from priprune_defenses.release_record import MIXED, mixing, record_entry, remember
from priprune_defenses.streams import substream
from priprune_plugins import Client, NonNegative, Run, ScenarioError, Server, Upload, hookimpl
from priprune_plugins.masks import apply_

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Release:
    """Withhold for ``gap`` participations at least, then send the sum of the updates with probability ``hazard``.

    The share withheld tends to ``1 - 1 / (gap + 1 / hazard)``; a number sent mixes ``gap + 1`` participations at least
    and ``gap + 1 / hazard`` on average. Training starts from the broadcast itself, so there are no stale weights of a
    client's own to be known. A client whose images fit in fewer than ``gap + 1 / hazard`` batches mixes the same images
    with themselves and is warned of. It does not hide which image was trained on from somebody who holds candidates.

    Sums that come late are steps along old gradients, which overshoot where the loss is curved sharply. What that costs
    differs between initial weights: FEMNIST, 100 writers, ``mini``, magnitude .3, lr .1, gap 3 without dither is at 27%
    after 200 rounds with seed 0, and its formula written out anew at 29% with seed 0 and 63% with seed 1. See
    ``defenses/README.md`` before choosing a gap above 1, whose privacy was measured and whose training may fail.

    What a client sent counts as sent only where the whole upload is finite: the host drops any other. A setup round is
    not protected: nothing is trained in it.

    Args:
        gap: Participations for which a coordinate is held at least, from 0 to 126. A larger one mixes more and delays
            more: with 3 and dither a run may not train at all, see above.
        hazard: Probability to be sent in each participation after those, in (0, 1].
        dither: Deviation of the Gaussian noise on what is sent, in units of the layer's root mean square update. It
            does not enter what is held.
        hide: Send every coordinate, a withheld one as the broadcast, so that with ``dither`` none looks withheld.

    Raises:
        ScenarioError: ``gap`` is above 126; or at the start of the run, it stands beside what it cannot work with.
    """

    gap: Annotated[int, Field(ge=0, le=OLDEST)] = 1
    hazard: Annotated[float, Field(gt=0, le=1)] = 0.5
    dither: NonNegative = 1.0
    hide: bool = True

    @property
    def cycle(self) -> float:
        """Participations from one release of a coordinate to the next, on average."""
        return self.gap + 1 / self.hazard

    @property
    def withholds_openly(self) -> bool:
        """False where a withheld coordinate leaves as the broadcast: no mask is withheld by then."""
        return not self.hide

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Refuse what it cannot be combined with."""
        check_company(run.scenario)

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload | None:
        """Send what is due and hold the rest."""
        if client.round_idx < 0:
            _logger.warning("release: client %d's setup upload is sent whole: nothing is held yet", client.client_id)
            return None
        state = client.state(self)
        if "residual" not in state:
            self._warn(client)
        held = _held(state, client.weights)
        release = self._release(client, upload, held)
        extras, remembered = mixed_extras(upload.extras, state, release, self.gap + 1, client.layout)
        extras[MIXED] = mixing(held.age, release, client.mask)
        final = replace(self._sent(client, upload, held, release), extras=extras)
        if _finite(final):
            hold_(held, upload.weights, client.start, release, client.mask)
            state.update(remembered, residual=held.residual, age=held.age)
        return final

    @hookimpl
    def on_server_receive(self, server: Server, upload: Upload) -> None:
        """Collect how many batches were mixed, which the client says and which depends on no data."""
        if MIXED in upload.extras:
            remember(server.state(self), upload, server.facts.batch_size * self.cycle)

    @hookimpl
    def on_round_end(self, server: Server, record: MutableMapping[str, Any]) -> None:
        """Add ``release`` to the round's record."""
        record["release"] = record_entry(server.state(self))

    def _release(self, client: Client, upload: Upload, held: Held) -> Tensor:
        heads = flips(held.age.numel(), self.hazard, substream(client.generator(self), 0)).to(held.age.device)
        release = heads & ripe(held.age, self.gap)
        for allowed in (client.mask, upload.shared):
            release = release if allowed is None else release & allowed
        return release

    def _sent(self, client: Client, upload: Upload, held: Held, release: Tensor) -> Upload:
        weights = released(upload.weights, client.received, held, release)
        if self.dither:
            sizes = layer_sizes(client.layout, client.mask)
            deviations = [self.dither * rms for rms in layer_rms(upload.weights, client.start, client.layout, sizes)]
            dither_(weights, client.layout, deviations, substream(client.generator(self), 1))
        sent = replace(upload, weights=apply_(weights, client.mask))
        return sent if self.hide else sent.withhold(~release if client.mask is None else client.mask & ~release)

    def _warn(self, client: Client) -> None:
        needed = client.facts.batch_size * self.cycle
        if client.num_samples < needed:
            _logger.warning(
                "release: client %d has %d images and mixes batches of %d over %.4g participations: the same images "
                "meet again; it needs %.0f, or a smaller batch",
                *(client.client_id, client.num_samples, client.facts.batch_size, self.cycle, needed),
            )


def check_company(scenario: Mapping[str, Any]) -> None:
    """Refuse defences and algorithms that ``release`` cannot work with.

    Raises:
        ScenarioError: A defence that composes start weights, one that withholds after ``release``, a second
            ``release``, or SCAFFOLD.
    """
    if scenario.get("algorithm", {}).get("name") == "scaffold":
        raise ScenarioError(
            "defense release cannot be combined with algorithm scaffold: the sum of several participations' updates is "
            "no control variate; use fedavg, fedprox or fednova"
        )
    names = [str(block["name"]).rpartition(":")[2].lower() for block in scenario.get("defenses", ())]
    for block, name in zip(scenario.get("defenses", ()), names, strict=True):
        if name == "priprune" or block.get("keep_local"):
            raise ScenarioError(
                f"defense release cannot be combined with {name}, which composes start weights: what is held back "
                "would be counted twice; leave one out" + (", or set keep_local: false" if name != "priprune" else "")
            )
    place = names.index("release") if "release" in names else len(names)
    after = [name for name in names[place + 1 :] if name in _WITHHOLDING]
    if after:
        raise ScenarioError(
            f"defenses: {after[0]} withholds after release, so that what it withholds is lost; put release behind it"
            if after[0] != "release"
            else "defenses: release stands twice; leave one out"
        )


_WITHHOLDING = frozenset({"largest", "random_withhold", "randomwithhold", "mix", "release"})


def _held(state: Mapping[str, Any], like: Tensor) -> Held:
    if "residual" not in state:
        return Held.nothing(like)
    return Held(state["residual"].to(like.device), state["age"].to(like.device))


def _finite(upload: Upload) -> bool:
    tensors = [upload.weights, *upload.extras.values(), *upload.buffers.values()]
    return all(bool(torch.isfinite(tensor.sum())) for tensor in tensors if tensor.is_floating_point())
