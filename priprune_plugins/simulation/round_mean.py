"""A round's uploads, handed to the FedLab handler as the scenario's aggregation section says."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from priprune_plugins.masks import applied
from priprune_plugins.messages import Server
from priprune_plugins.simulation.aggregation import fill_absent, filled_mean, normalised, weighted_mean
from priprune_plugins.simulation.flat_fedlab import only_averages
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.setting import Setting
from priprune_plugins.simulation.unsent import Unsent


class RoundMean:
    """Aggregates uploads into the server's weights.

    Args:
        setting: The federation's.
        handler: The FedLab handler.
        server: Its weights are the handler's own.
    """

    def __init__(self, setting: Setting, handler: Any, server: Server) -> None:
        self._algorithm = setting.algorithm
        self._section = setting.aggregation
        self._absent = setting.absent
        self._handler = handler
        self._server = server

    def take(self, received: Sequence[Sent]) -> None:
        """Aggregate a round's uploads, those parts apart that the algorithm averages apart."""
        for part in self._algorithm.parts(self._handler, received):
            self._aggregate(part)

    def shares(self, received: Sequence[Sent]) -> list[float]:
        """Return each upload's share of the mean."""
        # A group's mean stands once for each of its clients.
        amounts = [sent.upload.num_samples / len(sent.upload.client_ids) for sent in received]
        return normalised(amounts, self._section.weighting)

    def _aggregate(self, received: Sequence[Sent]) -> None:
        section, codec, shares = self._section, self._algorithm.codec, self.shares(received)
        if section.sum == "running" and codec.form == "weights" and only_averages(self._handler):
            self._average(received, shares)
            return
        weights, present = self._server.weights, [sent.present for sent in received]
        packs = fill_absent([self._reopened(sent) for sent in received], present, codec, weights, self._absent, shares)
        unsent = Unsent.of(present, weights, self._absent)
        with weighted_mean(packs, codec, shares, section.weighting, section.sum):
            self._handler.load_round(packs, shares)
        if unsent is not None:
            unsent.put_back_(self._server.weights)

    def _average(self, received: Sequence[Sent], shares: Sequence[float]) -> None:
        """Aggregate where that is a mean of weights: what is absent is filled while it is added up."""
        section, codec = self._section, self._algorithm.codec
        packs, present = [sent.pack for sent in received], [sent.present for sent in received]
        vectors = [pack[0] for pack in packs]
        mean = filled_mean(vectors, present, self._server.weights, self._absent, shares)
        with weighted_mean(packs, codec, shares, section.weighting, section.sum, mean):
            self._handler.load_round(packs, shares)

    def _reopened(self, sent: Sent) -> list[Tensor]:
        """Return the pack against the server's dense weights, which an update is added to.

        A coordinate that the broadcast pruned and the client re-opened started from 0 there, not from the dense weight.
        """
        mask = self._server.mask
        if mask is None or self._algorithm.codec.form == "weights":
            return sent.pack
        reopened = ~mask if sent.present is None else sent.present & ~mask
        if not bool(reopened.any()):
            return sent.pack
        return [sent.pack[0] + applied(sent.received - self._server.weights, reopened), *sent.pack[1:]]
