"""PruneFL: keep the weights that lower the loss most per second, and think again every few rounds.

Reference: Jiang, Wang, Valls, Ko, Lee, Leung, Tassiulas, "Model Pruning Enables Efficient Federated Learning on Edge
Devices", IEEE TNNLS 2022, arXiv:1909.12326, Algorithms 1 and 2.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from priprune_plugins import (
    Client,
    Count,
    Facts,
    Index,
    NonNegative,
    Positive,
    Rate,
    ScenarioError,
    Server,
    Share,
    Upload,
    hookimpl,
)
from priprune_pruners.extras import gather, gathered
from priprune_pruners.initial_pruning import InitialPruning, initially_pruned
from priprune_pruners.layer_seconds import COMM_SECONDS, Seconds, layer_seconds
from priprune_pruners.selection import select
from priprune_pruners.timed_choice import TimedChoice, within_rate

_GRADIENTS, _MASK, _WEIGHTS = "prunefl_squared_gradients", "prunefl_mask", "prunefl_weights"


@dataclass(frozen=True, eq=False)
class PruneFL:
    """Adaptive pruning by squared gradient per second, at one client first, then at the server.

    Before round 0 the client ``client_id`` trains and prunes alone and sends mask and weights. After every ``every``
    rounds each sampled client sends the squared gradients it has summed since it last did, and the server chooses
    anew: of each layer's kept weights the smallest are up for removal, all pruned ones for return. A returning weight
    has its last server value. What clients send are uploads that an attacker may use.

    Departures: PruneFL itself takes no rate: it stops adding weights once the next one lowers the loss less per second
    than the model so far. Here the rule's order holds and the count is the asked one, so that pruners compare at one
    rate; ``stop: ratio`` is the paper's stop, under which the rate only bounds what is kept. The bound holds from
    the first round on: where more would have to stay (only ``decrease`` of a layer goes at one event) the smallest of
    all go too. The times are given, measured or counted from multiply-adds in place of the authors' constants. Squared
    gradients that a defence withheld count as the mean over those who sent them, else as at the last event. Sums begin
    anew at each client's own upload, as clients are sampled. See :class:`InitialPruning` for the first stage.

    Measured on digits (60 clients, Dirichlet 1, 10 a round, one step, lr 0.1, ``mini``, 70 rounds, ``every: 10``, one
    seed): rate 0.3 gives density 0.7 and accuracy .947; with ``stop: ratio`` the first stage alone goes to about 0.17
    and accuracy is .887.

    Args:
        rate: Fraction of the prunable weights removed, in [0, 1).
        stop: ``rate`` = keep on adding weights until the asked count is met; ``ratio`` = stop by the paper's rule, the
            rate being the least that is removed.
        every: Rounds between reconfigurations.
        decrease: Share of a layer's kept weights up for removal at the first event.
        half_life: Rounds in which ``decrease`` halves.
        seconds: Seconds per parameter and round, one number per prunable layer in model order; or ``counted``
            (reproducible), or ``measured`` once on this machine (two runs differ).
        comm_seconds: Seconds to communicate one parameter, where ``seconds`` is counted or measured.
        constant_seconds: Seconds of a round without any parameter; None = 0.14 of all parameters' time, as in the
            authors' FEMNIST configuration.
        initial: First mask: ``client`` = PruneFL's first stage; ``magnitude`` = the largest initial weights.
        client_id: The client of the first stage.
        initial_passes: Passes over that client's batches of the setup round, at most.
        initial_every: Passes between its reconfigurations.
    """

    criterion: ClassVar[str] = "squared gradient per second, magnitude"
    cycle: ClassVar[str] = "iterative"
    sides: ClassVar[tuple[str, ...]] = ("server", "client")
    collects: ClassVar[tuple[str, ...]] = (_GRADIENTS, _MASK)

    rate: Rate = 0.3
    stop: Literal["rate", "ratio"] = "rate"
    every: Count = 50
    decrease: Share = 0.3
    half_life: Positive = 10_000
    seconds: tuple[NonNegative, ...] | Seconds = "counted"
    comm_seconds: Positive = COMM_SECONDS
    constant_seconds: Positive | None = None
    initial: Literal["client", "magnitude"] = "client"
    client_id: Index = 0
    initial_passes: Count = 60
    initial_every: Count = 10

    @property
    def setup_clients(self) -> tuple[int, ...]:
        """Clients that the setup round must have."""
        return (self.client_id,) if self.initial == "client" else ()

    @property
    def sets_weights(self) -> bool:
        """Whether it sets weights to more than zeros, which an algorithm of several models refuses."""
        return self.initial == "client"

    @hookimpl
    def on_setup_round(self, client: Client) -> None:
        """Run the first stage at its client and send what it gives."""
        if self.initial != "client" or client.client_id != self.client_id:
            return
        facts, choice = client.facts, self._choice(client.facts, self._seconds(client.facts))
        reconfigure = partial(choice.next_mask, decrease=self.decrease)
        plan = InitialPruning(self.initial_passes, self.initial_every)
        weights, mask = initially_pruned(
            client.model, client.layout, client.weights, client.batches, facts.lr, facts.num_classes, reconfigure, plan
        )
        client.send(_MASK, mask)
        client.send(_WEIGHTS, weights)

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        """Set the mask; at the first round by the first stage's weights or by magnitude."""
        state = server.state(self)
        if "mask" not in state:
            if self.initial == "client":
                raise ScenarioError(
                    f"pruner.client_id: prunefl's first stage needs client {self.client_id} in the setup round, got no "
                    "mask of it; give an id below data.clients, or initial: magnitude"
                )
            state["mask"] = select(server.weights.abs(), server.layout.prunable, self.rate)
        server.mask = state["mask"]

    @hookimpl
    def on_local_step(self, client: Client) -> None:
        """Add up this round's dense gradients; at its last step add the square of their sum to those before."""
        state = client.state(self)
        earlier = state.pop("round_gradient", None) if client.step_idx else None
        if client.step_idx + 1 < client.num_steps:
            state["round_gradient"] = torch.cat(client.loss_grads) if earlier is None else _plus(earlier, client)
            return
        if "squared" not in state:
            state["squared"] = torch.zeros_like(client.received)
        images = sum(labels.numel() for _, labels in client.batches)
        gradients = client.loss_grads if earlier is None else client.layout.layers(_plus(earlier, client))
        for total, gradient in zip(client.layout.layers(state["squared"]), gradients, strict=True):
            total.addcmul_(gradient, gradient, value=images)

    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        """Before a reconfiguration send the sum of squares."""
        if self._reconfigures(client.round_idx):
            client.send(_GRADIENTS, client.state(self).pop("squared"))

    @hookimpl
    def on_server_receive(self, server: Server, upload: Upload) -> None:
        """Take over the first stage; add up squared gradients."""
        state = server.state(self)
        gather(state, _GRADIENTS, upload)
        if _MASK in upload.extras:
            self._take_over(server, upload)

    @hookimpl
    def on_aggregate_end(self, server: Server) -> None:
        """Choose the mask anew in a reconfiguration round."""
        state = server.state(self)
        if not self._reconfigures(server.round_idx):
            return
        importance = gathered(state, _GRADIENTS, server.layout, state.get("importance"))
        if importance is None:
            return
        state["importance"] = importance
        if "seconds" not in state:
            state["seconds"] = self._seconds(server.facts)
        decrease = self.decrease * 0.5 ** (server.round_idx / self.half_life)
        choice = self._choice(server.facts, state["seconds"])
        state["mask"] = choice.next_mask(server.weights, state["mask"], importance, decrease)
        server.mask = state["mask"]

    def _take_over(self, server: Server, upload: Upload) -> None:
        sent = torch.ones_like(server.layout.prunable) if upload.shared is None else upload.shared
        server.weights = torch.where(sent, upload.extras[_WEIGHTS], server.weights)
        mask = torch.where(sent, upload.extras[_MASK].to(torch.bool), True)
        server.state(self)["mask"] = within_rate(server.weights, mask, server.layout.prunable, self.rate)

    def _reconfigures(self, round_idx: int) -> bool:
        return (round_idx + 1) % self.every == 0

    def _choice(self, facts: Facts, seconds: Tensor) -> TimedChoice:
        return TimedChoice(facts.layout, seconds, self.constant_seconds, self.rate, fill=self.stop == "rate")

    def _seconds(self, facts: Facts) -> Tensor:
        return layer_seconds(self.seconds, facts, self.comm_seconds)


def _plus(total: Tensor, client: Client) -> Tensor:
    """Add this step's gradient to ``total [D]``, in place."""
    for layer, gradient in zip(client.layout.layers(total), client.loss_grads, strict=True):
        layer.add_(gradient)
    return total
