"""SecAgg: the server sees sums over groups of clients, and no single upload.

Reference: Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal, Seth, "Practical Secure Aggregation for
Privacy-Preserving Machine Learning", CCS 2017, arXiv:1611.04482.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from priprune_defenses.ring import ITEM_BYTES, decoded, encoded, largest
from priprune_defenses.secagg_company import check_company, told_openly
from priprune_defenses.streams import substream
from priprune_plugins import Index, Rate, Run, ScenarioError, Server, hookimpl
from priprune_plugins.errors import missing_extra
from priprune_plugins.summands import GroupSum, Summand

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SecAgg:
    """Pairwise masks that cancel in the sum, a self mask each, and shares that open the sum although clients vanish.

    This is a simulation of the protocol and not an implementation to deploy: its key agreement, its stream cipher and
    its secret sharing are a library's and real, but all clients and the server are one process, the secrets come from
    the run's seed, a probe's being those of its round, shares are handed over unencrypted, and the server keeps to the
    protocol. What the server learns and what is sent for it are those of the protocol: sums modulo 2**64, exact in
    their fixed-point numbers; public keys and shares, some hundred bytes a client, are not counted as sent.

    The server learns of each group who is in it, the weighted mean of the updates, the sum of the sample counts, means
    of what else is sent, and where a defence withholds of a pruner's own tensors how many sent each coordinate. An
    absent coordinate counts as the broadcast, which is ``aggregation.absent: previous``. Groups are neighbours in the
    order of ids and no smaller than ``group``, unless the round is.

    A client that vanishes is lost to the round after it has changed what it remembers; only the algorithm's memory of
    it is taken back. Privacy is that of a larger batch: nothing hides what a sum itself tells.

    Args:
        group: Clients in a group, 2 or more; 0 = all of the round.
        threshold: Share of a group that must still be there to open its sum, and no fewer than two; in (0, 1]. As many
            clients would have to collude with the server to open a single upload.
        dropout: Probability that a client vanishes after it has masked, for study.
        bits: Fractional bits of the fixed-point numbers; steps of ``2**-bits`` on the weighted updates.

    Raises:
        ScenarioError: ``group`` is 1; at the start of the run, pycryptodome is not installed, or it stands beside what
            it cannot work with; during the run, a number is too large for ``bits``.
    """

    group: Index = 0
    threshold: Annotated[float, Field(gt=0, le=1)] = 2 / 3
    dropout: Rate = 0.0
    bits: Annotated[int, Field(ge=8, le=48)] = 32

    withholds_openly: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.group == 1:
            raise ScenarioError(
                "group must be 2 or more, or 0 for the whole round, got 1: a sum over one hides nothing"
            )

    def check_scenario(self, scenario: Mapping[str, Any]) -> None:
        """Refuse what it cannot be combined with, and to begin without the library."""
        protocol_or_refusal()
        check_company(scenario, self.dropout)

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Refuse what it cannot be combined with, and say what stays visible."""
        self.check_scenario(run.scenario)
        for message in told_openly(run.scenario, self.group):
            _logger.warning("secagg: %s", message)

    @hookimpl
    def sum_uploads(self, server: Server, summands: Sequence[Summand]) -> list[GroupSum]:
        """Sum each group that enough of its clients stay in."""
        sums = (self._sum(server, members) for members in dealt(summands, self.group))
        return [total for total in sums if total is not None]

    def _sum(self, server: Server, members: Sequence[Summand]) -> GroupSum | None:
        streams = [substream(server.generator(self), member.client_id) for member in members]
        seeds = [bytes(torch.randint(256, (32,), generator=stream, dtype=torch.uint8).tolist()) for stream in streams]
        arrives = [float(torch.rand((), generator=stream)) >= self.dropout for stream in streams]
        rings = (self._ring(member, len(members)) for member in members)
        needed = survivors_needed(self.threshold, len(members))
        # Of two clients where one vanishes, the sum would be the other's upload.
        total = protocol_or_refusal().secure_sum(rings, seeds, arrives, needed) if len(members) > 1 else None
        present = [member for member, arrived in zip(members, arrives, strict=True) if arrived]
        if total is None:
            ids = ", ".join(str(member.client_id) for member in members)
            _logger.warning(
                "secagg: round %d, clients %s: %d of %d are left and %d are needed, so their sum stays closed",
                *(server.round_idx, ids, len(present), len(members), needed),
            )
            return None
        client_ids = tuple(member.client_id for member in present)
        return GroupSum(client_ids, _apart(decoded(total, self.bits), members[0]), ITEM_BYTES)

    def _ring(self, member: Summand, count: int) -> Tensor:
        """Return all of a client's vectors as one vector of ring elements, its range checked."""
        parts = []
        for name, vector in sorted(member.vectors.items()):
            try:
                parts.append(encoded(vector, member.factors.get(name, 1.0), self.bits, count))
            except OverflowError as error:
                raise ScenarioError(
                    f"defense secagg: client {member.client_id} would send {error.args[0]:.3g} in {name}, and a sum "
                    f"over {count} clients with bits: {self.bits} must stay below {largest(self.bits, count):.3g} "
                    "each; lower bits, or algorithm.lr if the training diverges"
                ) from error
        return torch.cat(parts)


def survivors_needed(threshold: float, members: int) -> int:
    """Return how many of a group must be there to open its sum."""
    # 2 / 3 of 3 is 2, whatever the last bits of a product say.
    return max(2, math.ceil(threshold * members - 1e-9))


def dealt(summands: Sequence[Summand], size: int) -> Iterator[Sequence[Summand]]:
    """Yield groups of ``size`` neighbours or a few more, so that none is smaller; 0 = all in one.

    Args:
        summands: In the order of ids.
        size: Clients in a group, or 0.
    """
    count = max(1, len(summands) // size) if size else 1
    shorter, longer = divmod(len(summands), count)
    start = 0
    for index in range(count):
        stop = start + shorter + (index < longer)
        yield summands[start:stop]
        start = stop


def protocol_or_refusal() -> ModuleType:
    """Return the protocol, which is imported only where it is used.

    Raises:
        ScenarioError: The library behind it is not installed.
    """
    try:
        return import_module("priprune_defenses.secure_sum")
    except ImportError as error:
        raise missing_extra("defense secagg", "the package pycryptodome", "secagg") from error


def _apart(flat: Tensor, like: Summand) -> dict[str, Tensor]:
    """Return the vectors of a sum by name, in their shapes and on their devices."""
    named = sorted(like.vectors.items())
    parts = torch.split(flat, [vector.numel() for _, vector in named])
    return {name: part.view(v.shape).to(v.device) for (name, v), part in zip(named, parts, strict=True)}
