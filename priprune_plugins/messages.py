"""What passes through the hooks: flat vectors of ``D`` parameters in the order of ``model.parameters()``.

Words: a *mask* is bool, True = kept; an *update* is ``w_local - w_global``; *withheld* is what a client trained and
did not send. The two live objects, :class:`Client` and :class:`Server`, are made by the host and edited by plugins;
:class:`Upload`, :class:`Observation` and :class:`Reconstruction` are values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from priprune_plugins.facts import Batch, Evaluation, Facts, LabelledSet, Progress, Split, State
from priprune_plugins.live_weights import LiveWeights, checked_vector

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


class Server(LiveWeights):
    """The server's side of a round, edited by plugins.

    Attributes:
        round_idx: The round about to run, or just aggregated.
        mask: ``[D]`` bool, the global base mask, or None; assigning checks dtype and shape.
        weights: ``[D]`` dense weights; the broadcast is always ``weights`` with pruned coordinates 0. Assigning copies.
        public: A labelled public set, only where the scenario gives one.
    """

    label = "server"

    def __init__(
        self,
        facts: Facts,
        weights: Tensor,
        public: LabelledSet | None,
        states: Callable[[object], State],
        generators: Callable[[object, int], torch.Generator],
    ) -> None:
        super().__init__(facts.layout, weights, mask=None)
        self.facts = facts
        self.round_idx = 0
        self.public = public
        self._states = states
        self._generators = generators

    def state(self, plugin: object) -> State:
        """Return what ``plugin`` remembers at the server; tensors, numbers and strings survive a resume."""
        return self._states(plugin)

    def generator(self, plugin: object) -> torch.Generator:
        """Return a fresh CPU generator of ``plugin``'s own for this round."""
        return self._generators(plugin, self.round_idx)


class Client(LiveWeights):
    """One client's side of one round, edited by plugins.

    Attributes:
        client_id: Index of the client.
        round_idx: Round, or -1 in the setup round.
        step_idx: Local step, from 0; ``num_steps`` in all.
        num_samples: Images of the client.
        received: ``[D]`` the broadcast, read-only.
        start: ``[D]`` weights when training began, read-only.
        weights: ``[D]`` the live local weights, editable in place or by assignment.
        mask: ``[D]`` bool, the client's base mask, or None; the host zeroes the pruned weights after
            ``on_local_train_start``, after every optimiser step and at ``on_local_train_end``.
        loss_grad: ``[D]`` dense gradient of the plain loss at this step, read-only; only inside ``on_local_step``.
        loss_grads: The same by layer, ``[size]`` each, read-only: joining them to ``loss_grad`` costs a copy.
        grad: ``[D]`` what the optimiser will use at this step, editable; only inside ``on_local_step``.
        model: The local model; its parameters are views of ``weights``.
        batches: This round's batches, ``(images [B, C, H, W], labels [B])`` each.
        initial: ``[D]`` the run's weights before round 0, which everybody derives from the seed; read-only.
        shown: The read-only gradients that are open, by name; the host's.
    """

    label = "client"

    def __init__(
        self,
        client_id: int,
        round_idx: int,
        num_steps: int,
        num_samples: int,
        facts: Facts,
        received: Tensor,
        weights: Tensor,
        mask: Tensor | None,
        model: nn.Module,
        batches: Sequence[Batch],
        states: Callable[[object], State],
        generators: Callable[[object], torch.Generator],
        evaluate: Callable[[Split], Evaluation],
        initial: Tensor | None = None,
    ) -> None:
        super().__init__(facts.layout, weights, mask)
        self.client_id = client_id
        self.round_idx = round_idx
        self.step_idx = 0
        self.num_steps = num_steps
        self.num_samples = num_samples
        self.facts = facts
        self.received = received
        self.start = received
        self.initial = initial
        self._model = model
        self.batches = batches
        self.sent: dict[str, Tensor] = {}
        self._loss_grads: tuple[Tensor, ...] | None = None
        self.shown: dict[str, Tensor] = {}
        self._grad: Callable[[], Tensor] | None = None
        self._states = states
        self._generators = generators
        self._evaluate = evaluate

    @property
    def model(self) -> nn.Module:
        # Its parameters are the weights.
        self.taken = True
        return self._model

    @property
    def loss_grad(self) -> Tensor:
        if "client.loss_grad" not in self.shown:
            self.shown["client.loss_grad"] = torch.cat(self.loss_grads)
        return self.shown["client.loss_grad"]

    @property
    def loss_grads(self) -> tuple[Tensor, ...]:
        if self._loss_grads is None:
            raise RuntimeError("client.loss_grad exists only inside on_local_step")
        return self._loss_grads

    @property
    def grad(self) -> Tensor:
        if self._grad is None:
            raise RuntimeError("client.grad exists only inside on_local_step")
        return self._grad()

    @grad.setter
    def grad(self, value: Tensor) -> None:
        self.grad.copy_(checked_vector(value, self.layout, self._weights.dtype, "client.grad"))

    def in_step(self, loss_grad: Tensor | Sequence[Tensor] | None, grad: Callable[[], Tensor] | None) -> None:
        """Open (or close, with None) the gradients of one step; called by the host.

        Args:
            loss_grad: ``[D]``, or by layer ``[size]`` each.
            grad: Returns the vector that the optimiser will use.
        """
        self._grad, self.shown = grad, {}
        if isinstance(loss_grad, Tensor):
            self.shown["client.loss_grad"] = loss_grad
            loss_grad = tuple(self.layout.layers(loss_grad))
        self._loss_grads = None if loss_grad is None else tuple(loss_grad)
        self.shown |= {f"client.loss_grads[{index}]": layer for index, layer in enumerate(self._loss_grads or ())}

    def evaluate(self, split: Split) -> Evaluation:
        """Return loss and accuracy of the current local weights on this client's own data."""
        return self._evaluate(split)

    def send(self, name: str, tensor: Tensor) -> None:
        """Add an extra tensor to this round's upload; an attacker may use it like any other."""
        self.sent[name] = tensor

    def state(self, plugin: object) -> State:
        """Return what ``plugin`` remembers at this client; tensors, numbers and strings survive a resume."""
        return self._states(plugin)

    def generator(self, plugin: object) -> torch.Generator:
        """Return a fresh CPU generator of ``plugin``'s own for this client and round."""
        return self._generators(plugin)
