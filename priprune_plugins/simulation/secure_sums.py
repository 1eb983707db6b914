"""Uploads of groups in place of single ones, where a defence lets the server see sums only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priprune_plugins.masks import applied, positions
from priprune_plugins.messages import Batch, Server, Upload
from priprune_plugins.plugins import PluginHost
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.setting import Setting
from priprune_plugins.simulation.sum_codec import UPDATE, SumCodec, extra_bytes, other_bytes
from priprune_plugins.simulation.summable import check_summable
from priprune_plugins.summands import GroupSum


@dataclass(frozen=True, eq=False)
class GroupBatches:
    """The batches behind a group's sum.

    Args:
        members: Uploads of the group's clients.
    """

    members: Sequence[Sent]

    @property
    def batch_size(self) -> int:
        """Images that all members together trained on in their first steps."""
        return sum(member.batches.batch_size for member in self.members)

    def distinct(self) -> Batch:
        """Return the images ``[B, C, H, W]`` and labels ``[B]`` of all members, each image of a client once."""
        images, labels = zip(*(member.truth for member in self.members), strict=True)
        return torch.cat(images), torch.cat(labels)


@dataclass(frozen=True, eq=False)
class Group:
    """A group whose sum the server has.

    Args:
        sent: What the server holds of it, with what only the simulation knows.
        members: What the aggregation takes: the mean once for each client.
    """

    sent: Sent
    members: list[Sent]


@dataclass(frozen=True, eq=False)
class SecureSums:
    """Lets a defence sum the uploads of a round.

    Args:
        host: The plugins, one of which implements ``sum_uploads``.
        server: The server.
        codec: What a client puts in and the server reads out.
    """

    host: PluginHost
    server: Server
    codec: SumCodec

    def groups(self, sent: Sequence[Sent]) -> list[Group]:
        """Return what the server learns; a client that is in no group is lost.

        Args:
            sent: Finite uploads of single clients on the same broadcast.
        """
        if not sent:
            return []
        counted, places = self.codec.counted(one.upload for one in sent), self._places(sent)
        summands = [self.codec.summand(one.upload, self._update(one), one.present, counted, places) for one in sent]
        by_id = {one.upload.client_ids[0]: one for one in sent}
        return [
            self._group(total, places, [by_id[client_id] for client_id in total.client_ids])
            for total in self.host.sum_uploads(self.server, summands)
        ]

    def setup(self, uploads: Sequence[Upload]) -> list[tuple[Upload, Mapping[str, int]]]:
        """Return the groups' uploads of the setup round, where no update is sent, and a member's bytes by extra."""
        if not uploads:
            return []
        counted = self.codec.counted(uploads)
        summands = [self.codec.summand(upload, None, None, counted) for upload in uploads]
        return [
            (self.codec.upload(total, uploads[0], uploads[0].weights), extra_bytes(total))
            for total in self.host.sum_uploads(self.server, summands)
        ]

    def _update(self, one: Sent) -> Tensor:
        change = one.pack[0] - one.received if self.codec.codec.form == "weights" else one.pack[0]
        return applied(change, one.present)

    def _places(self, sent: Sequence[Sent]) -> Tensor | None:
        """Return the coordinates that the server's mask leaves, or None where some client opened others."""
        mask = self.server.mask
        if mask is None or any(one.mask is None for one in sent):
            return None
        others = {id(one.mask): one.mask for one in sent if one.mask is not mask}.values()
        opened = any(bool((other & ~mask).any()) for other in others if other is not None)
        return None if opened else positions(mask)

    def _group(self, total: GroupSum, places: Tensor | None, members: list[Sent]) -> Group:
        first, codec = members[0], self.codec.codec
        sent_bytes, sent_extras = other_bytes(total), extra_bytes(total)
        total = self.codec.dense(total, places, first.received.numel())
        mean = self.codec.mean(UPDATE, total)
        weights = (mean + first.received).to(first.received.dtype)
        upload = self.codec.upload(total, first.upload, weights)
        mask = self.server.mask
        sent = replace(
            first,
            upload=upload,
            pack=[
                weights if codec.form == "weights" else mean.to(weights.dtype),
                *(upload.extras[name] for name in codec.extras),
            ],
            # Outside the server's mask only a client that opened a coordinate has sent a number.
            present=None if mask is None else mask | (mean != 0),
            start=self._mean_start(members),
            batches=GroupBatches(members),
            loss=_mean(one.loss for one in members),
            withheld_rate=_mean(one.withheld_rate for one in members) or 0.0,
            gradient_mass_withheld=_mean(one.gradient_mass_withheld for one in members),
            extras_bytes=sent_extras,
            offset=None,  # the server knows no single client's control variate
            sum_bytes=sent_bytes,
        )
        return Group(sent, [self._counted_once(sent, member) for member in members])

    def _counted_once(self, group: Sent, member: Sent) -> Sent:
        """Return the group's mean as one client's, with what only the simulation knows of that client."""
        return replace(
            group.to_aggregate(self.codec.codec.extras),
            mask=member.mask,
            batches=member.batches,
            loss=member.loss,
            withheld_rate=member.withheld_rate,
            gradient_mass_withheld=member.gradient_mass_withheld,
        )

    def _mean_start(self, members: Sequence[Sent]) -> Tensor:
        """Return the members' mean start, which an oracle is granted although none of them need have started there."""
        first = members[0]
        if all(one.start is one.received for one in members):
            return first.received
        total = torch.zeros_like(first.start, dtype=torch.float64)
        amounts = [one.upload.num_samples if self.codec.weighting == "samples" else 1 for one in members]
        for one, amount in zip(members, amounts, strict=True):
            total.add_(one.start, alpha=amount)
        return total.div_(sum(amounts)).to(first.start.dtype)


def secure_sums(setting: Setting, server: Server) -> SecureSums | None:
    """Return what forms a federation's groups, or None where the server sees single uploads.

    Raises:
        ScenarioError: Something needs single uploads although a defence sums them.
    """
    host, algorithm, weighting = setting.host, setting.algorithm, setting.aggregation.weighting
    check_summable(host, algorithm, setting.training.clients_per_round, setting.steps, setting.absent, weighting)
    return SecureSums(host, server, SumCodec(algorithm.codec, weighting)) if host.implements("sum_uploads") else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
