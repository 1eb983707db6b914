"""The two live objects that the host makes and plugins edit: one side of a round each."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from priprune_plugins.facts import Batch, Evaluation, Facts, LabelledSet, Split, State
from priprune_plugins.live_weights import LiveWeights, checked_vector
from priprune_plugins.pending_start import PendingStart


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
        local_model: The same model, for the host: reading it here leaves no mark.
        pending: What ``weights`` are to become and do not hold yet, or None; the host's.
        ended: ``[D]`` a copy of the weights when training was done, or None where there is none; the host's.
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
        self.local_model = model
        self.batches = batches
        self.sent: dict[str, Tensor] = {}
        self._loss_grads: tuple[Tensor, ...] | None = None
        self.shown: dict[str, Tensor] = {}
        self._grad: Callable[[], Tensor] | None = None
        self.pending: PendingStart | None = None
        self.ended: Tensor | None = None
        self._states = states
        self._generators = generators
        self._evaluate = evaluate

    @property
    def model(self) -> nn.Module:
        # Its parameters are the weights.
        self.take()
        return self.local_model

    def take(self) -> None:
        self.settle()
        super().take()

    def settle(self) -> None:
        """Write what the weights are to become; called by the host."""
        if self.pending is not None:
            pending, self.pending = self.pending, None
            self.taken = self.taken or pending.composed
            pending.write_()

    def compose(self, own: Tensor, where: Tensor) -> None:
        """Set the weights to ``own [D]`` where a bool ``where [D]`` is True; both stay as they are until training.

        In ``on_local_train_start`` it costs less than an edit of ``weights``: the host composes while it loads, prunes
        and copies what training starts from. All values have to be finite.
        """
        own = checked_vector(own, self.layout, self._weights.dtype, "own in client.compose")
        where = checked_vector(where, self.layout, torch.bool, "where in client.compose")
        if self.pending is not None:
            self.pending.compose(own, where)
            return
        now = PendingStart(self.weights, self._weights)
        now.compose(own, where)
        now.write_()

    @property
    def trained(self) -> Tensor:
        """``[D]`` the weights when local training was done, for ``before_upload``: may be kept, never written to."""
        # Whoever holds the live weights may have changed them since the copy was made.
        return self._weights.clone() if self.ended is None or self.taken else self.ended

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
        self.settle()
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
