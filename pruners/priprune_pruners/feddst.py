"""FedDST: clients prune by magnitude and grow by gradient, the server keeps the union to its budget.

Reference: Bibikar, Vikalo, Wang, Chen, "Federated Dynamic Sparse Training: Computing Less, Communicating Less, Yet
Learning Better", AAAI 2022, arXiv:2112.09824, Algorithms 1 and 2.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from priprune_plugins import Client, Count, Layout, Rate, ScenarioError, Server, Share, Upload, hookimpl
from priprune_plugins.masks import apply_
from priprune_pruners.budgets import Distribution, as_left_by_feddst, feddst_budgets, layer_budgets
from priprune_pruners.regrowth import grown_to, pruned_to
from priprune_pruners.schedules import cosine_decay


def readjusted(
    weights: Tensor,
    mask: Tensor,
    grad: Tensor,
    lower: tuple[int, ...],
    budgets: tuple[int, ...],
    layout: Layout,
    over_all: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the mask after pruning by magnitude and the mask after growing by gradient, ``[D]`` bool each.

    Args:
        weights: ``[D]`` local weights.
        mask: ``[D]`` bool.
        grad: ``[D]`` dense gradient of the plain loss.
        lower: Per layer, how many weights are left before growing.
        budgets: Per layer, how many weights are left after it.
        layout: Layout of the model.
        over_all: The official code's growth; see :func:`priprune_pruners.regrowth.grown_to`.
    """
    pruned = pruned_to(weights.abs(), mask, lower, layout)
    return pruned, grown_to(grad.abs(), pruned, budgets, layout, over_all)


@dataclass(frozen=True, eq=False)
class FedDST:
    """Masks move during training, at clients and server; the count stays.

    Round 0 keeps the largest initial weights within the layers' budgets. In a readjustment round each client drops its
    smallest weights down to the density ``(1 - rate)(1 - alpha_t)`` and takes back inactive ones with the largest
    gradient; the new mask goes up as an extra. The server unites the clients' masks and prunes each layer to its
    budget again. A mask that a defence withheld counts as the mask that was broadcast.

    Departures from the official code, whose faults they are: clients readjust before step ``ceil(S / 2)`` of ``S``
    and not after the last, so that grown weights leave trained (after one step at least, ``-lr * g``) and not as 0;
    only inactive weights are ranked for growth; the decayed ``alpha_t`` is really applied; budgets hold for the
    weights alone, exactly, and a layer is dense only where the distribution says so. ``compat: feddst`` brings
    its budgets, its growth and its constant ratio back. Clients are sampled by the host, without replacement.

    Args:
        rate: Fraction of the prunable weights removed, in [0, 1).
        distribution: How the rate is spread over layers.
        alpha: Share of a layer's kept weights that is readjusted, at first.
        every: Rounds between readjustments; the first is round 1.
        until: Round from which masks stay; None = half of the run.
        compat: ``exact``, or ``feddst``: budgets, growth and ratio of the official code.
    """

    criterion: ClassVar[str] = "magnitude, grown by gradient"
    cycle: ClassVar[str] = "iterative"
    sides: ClassVar[tuple[str, ...]] = ("server", "client")
    absent: ClassVar[str] = "holders"

    rate: Rate = 0.3
    distribution: Distribution = "erk"
    alpha: Share = 0.5
    every: Count = 10
    until: Count | None = None
    compat: Literal["exact", "feddst"] = "exact"

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        """Set the mask; at the first round by magnitude of the initial weights."""
        self._end(server.facts.rounds)
        state = server.state(self)
        if "mask" not in state:
            dense = torch.ones_like(server.layout.prunable)
            state["mask"] = self._within_budget(server, dense)
        server.mask = state["mask"]

    @hookimpl
    def on_local_step(self, client: Client) -> None:
        """Readjust the mask before the middle step of a readjustment round."""
        alpha = self._alpha(client.round_idx, client.facts.rounds)
        middle = client.step_idx == (client.num_steps + 1) // 2 - 1
        if not middle or alpha == 0 or client.mask is None:
            return
        layout, grown_all = client.layout, self.compat == "feddst"
        lower = self._budgets(layout, self.rate + (1 - self.rate) * alpha)
        budgets = self._budgets(layout, self.rate)
        pruned, mask = readjusted(client.weights, client.mask, client.loss_grad, lower, budgets, layout, grown_all)
        with torch.no_grad():
            apply_(client.weights, pruned)
        client.mask = mask
        client.send("feddst_mask", mask)

    @hookimpl
    def on_server_receive(self, server: Server, upload: Upload) -> None:
        """Unite the clients' masks; a client that sends none keeps the broadcast's."""
        state = server.state(self)
        if "mask" not in state:
            return
        mask = upload.extras.get("feddst_mask", state["mask"]).to(torch.bool)
        if upload.shared is not None:
            mask = torch.where(upload.shared, mask, state["mask"])
        state["union"] = mask | state["union"] if "union" in state else mask

    @hookimpl
    def on_aggregate_end(self, server: Server) -> None:
        """Prune the union of the masks to the budget; what it drops starts from 0 when it comes back."""
        state = server.state(self)
        union = state.pop("union", state["mask"])
        if not torch.equal(union, state["mask"]):
            state["mask"] = self._within_budget(server, union)
        server.weights = server.weights.masked_fill(~state["mask"], 0.0)
        server.mask = state["mask"]

    def _within_budget(self, server: Server, mask: Tensor) -> Tensor:
        return pruned_to(server.weights.abs(), mask, self._budgets(server.layout, self.rate), server.layout)

    def _budgets(self, layout: Layout, rate: float) -> tuple[int, ...]:
        if self.compat == "feddst":
            return as_left_by_feddst(layout, feddst_budgets(layout, rate, self.distribution))
        return layer_budgets(layout, rate, self.distribution)

    def _alpha(self, round_idx: int, rounds: int | None) -> float:
        if self.rate == 0 or round_idx == 0 or (round_idx - 1) % self.every:
            return 0.0
        decayed = cosine_decay(round_idx, self.alpha, self._end(rounds))
        return self.alpha if self.compat == "feddst" and decayed > 0 else decayed

    def _end(self, rounds: int | None) -> int:
        if self.until is None and rounds is None:
            raise ScenarioError("pruner.until: feddst needs the round from which masks stay; give until: 100")
        return self.until if self.until is not None else max((rounds or 0) // 2, 1)
