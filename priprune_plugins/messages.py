"""What passes through the hooks: flat vectors of ``D`` parameters in the order of ``model.parameters()``.

Words: a *mask* is bool, True = kept; an *update* is ``w_local - w_global``; *withheld* is what a client trained and
did not send. The two live objects, :class:`Client` and :class:`Server`, are made by the host and edited by plugins;
:class:`Upload`, :class:`Observation` and :class:`Reconstruction` are values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from priprune_plugins.facts import Batch, Evaluation, Facts, LabelledSet, Progress, Split, State
from priprune_plugins.participants import Client, Server

__all__ = [
    "Batch",
    "Client",
    "Evaluation",
    "Facts",
    "LabelledSet",
    "Observation",
    "Progress",
    "Reconstruction",
    "Run",
    "Server",
    "Split",
    "State",
    "Upload",
]


@dataclass(frozen=True, eq=False)
class Upload:
    """What leaves a client, decoded to weights.

    Args:
        client_ids: One id, or those of a secure-aggregation group whose weights are the weighted mean.
        round_idx: Round of the upload.
        num_samples: Images of the client, or of the group.
        weights: ``[D]``; where ``shared`` is False the value is not sent and means nothing.
        shared: ``[D]`` bool, False = withheld; None = everything is sent. An attacker never gets it.
        extras: The algorithm's and the pruner's other tensors; those of length ``D`` are withheld with ``shared``.
        buffers: Batch-norm statistics by name, empty unless they are sent.
    """

    client_ids: tuple[int, ...]
    round_idx: int
    num_samples: int
    weights: Tensor
    shared: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    buffers: Mapping[str, Tensor] = field(default_factory=dict)

    def withhold(self, withheld: Tensor) -> "Upload":
        """Return the same upload without the coordinates where ``withheld [D]`` is True."""
        shared = ~withheld if self.shared is None else self.shared & ~withheld
        return replace(self, shared=shared)


@dataclass(frozen=True, eq=False)
class Observation:
    """What a real server holds of one upload; everything an attack may use.

    ``start`` and ``labels`` are truth, which the host grants only to an attack that declares ``oracle: true`` or
    ``labels: true``: what such an attack reaches is an upper bound, labelled so wherever it is shown.

    Args:
        broadcast: ``[D]`` weights that the client was sent, pruned coordinates exactly 0.
        server_weights: ``[D]`` the server's dense weights of that round.
        mask: ``[D]`` bool, the base mask that the server itself set, or None.
        upload: ``[D]`` decoded upload; a coordinate that was not sent is exactly 0.
        extras: Other tensors of the upload, not-sent coordinates 0.
        buffers: Batch-norm statistics by name.
        broadcast_buffers: The statistics that the client was sent.
        num_samples: Images of the client or group.
        round_idx: Round of the upload.
        client_ids: The sender or senders.
        facts: Public facts; ``facts.batch_size`` is that of this upload, the sum over the clients of a group.
        earlier: Earlier observations of the same client, oldest first.
        later: Later ones, oldest first: an attack comes after the training.
        group_images: How many different images a group's upload holds, which its sums of batch sizes and of samples do
            not tell; None for a single client.
        offset: ``[D]`` what the server knows was added to each step's gradient (SCAFFOLD's ``c - c_i``), or None.
        public: The server's labelled public set, only where the scenario gives one.
        start: ``[D]`` the weights that the client's training really started from, granted to an oracle only;
            ``broadcast`` and ``server_weights`` are then the same tensor, so that an attack that knows of no oracle
            works from the true start unchanged. None otherwise.
        labels: ``[B]`` int64 true labels, granted only to an attack that declares ``labels: true``; None otherwise.
    """

    broadcast: Tensor
    server_weights: Tensor
    mask: Tensor | None
    upload: Tensor
    extras: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    broadcast_buffers: Mapping[str, Tensor]
    num_samples: int
    round_idx: int
    client_ids: tuple[int, ...]
    facts: Facts
    earlier: Sequence["Observation"] = ()
    later: Sequence["Observation"] = ()
    group_images: int | None = None
    offset: Tensor | None = None
    public: LabelledSet | None = None
    start: Tensor | None = None
    labels: Tensor | None = None

    @property
    def num_images(self) -> int:
        """How many different images the upload may hold: no more than one local pass draws."""
        if self.group_images is not None:
            return self.group_images
        steps = self.facts.steps(self.num_samples)
        return min(steps * self.facts.batch_size, self.num_samples)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """An attack's guess at the images behind one observation, chosen by the attack's own loss.

    Args:
        images: ``[B, C, H, W]`` in [0, 1].
        labels: ``[B]`` int64, or None where the attack guesses none.
        loss: The attack's own final loss of this guess.
        trace: ``[iterations]`` loss of the chosen restart.
        failed: None, or why there is no usable guess; a failure is counted, never dropped.
        notes: The attack's own figures of this guess, written under ``notes`` into its line of privacy.jsonl.
    """

    images: Tensor
    labels: Tensor | None
    loss: float
    trace: Tensor
    failed: str | None = None
    notes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Run:
    """The run as plugins see it: no data.

    Args:
        folder: The run folder.
        scenario: The resolved scenario, every default written out.
        facts: Public facts.
    """

    folder: Path
    scenario: Mapping[str, Any]
    facts: Facts
