"""LotteryFL: every client finds its own lottery ticket; only its weights travel.

Reference: Li, Sun, Wang, Duan, Li, Chen, Li, "LotteryFL: Personalized and Communication-Efficient Federated Learning
with Lottery Ticket Hypothesis on Non-IID Datasets", 2020, arXiv:2008.03371, Algorithm 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from priprune_plugins import Client, Layout, Rate, ScenarioError, Share, hookimpl
from priprune_plugins.masks import apply_, num_pruned
from priprune_pruners.schedules import event_rate
from priprune_pruners.selection import select


def ticket(
    weights: Tensor, mask: Tensor, layout: Layout, rate: float, fraction: float = 0.2, rule: str = "exact"
) -> Tensor:
    """Return ``mask`` with the smallest survivors of each prunable layer dropped, ``[D]`` bool.

    Args:
        weights: ``[D]`` global weights.
        mask: ``[D]`` bool, this client's mask.
        layout: Layout of the model.
        rate: Fraction of each layer removed in the end; under the rule ``lotteryfl`` the last event may pass it.
        fraction: Share of a layer's survivors that goes.
        rule: Selection rule; ``lotteryfl`` is the official percentile, over weights that are not 0.
    """
    layers = zip(layout.layers(weights.abs()), layout.layers(mask), layout.prunable_layers, strict=True)
    return torch.cat([_thinned(*layer, rate, fraction, rule) for layer in layers])


def _thinned(scores: Tensor, kept: Tensor, prunable: bool, rate: float, fraction: float, rule: str) -> Tensor:
    if not prunable:
        return kept
    if rule == "lotteryfl":
        alive = kept & (scores > 0)
        return alive & select(scores, alive, fraction, rule)
    return kept & select(scores, kept, event_rate(int(kept.sum()), kept.numel(), rate, fraction), rule)


@dataclass(frozen=True, eq=False)
class LotteryFL:
    """Personal masks, pruned step by step and rewound to the initial weights, at the clients.

    A client that takes part measures the accuracy of the masked global weights; where it is above the threshold and
    its rate is not reached, it drops the smallest weights of each layer, rewinds to the masked initial weights and
    trains from there. The server averages each coordinate over those who hold it. Only personal models, global weights
    under the client's mask, are worth evaluating.

    Departures: accuracy is measured on a validation split of the client's own training part (``data.validation``); the
    official code measures it on the test split. The asked rate is never passed; the official code may go below its
    target. Norms are not pruned; the official code prunes every parameter with "weight" in its name. Pruned
    coordinates are held at 0 by the mask; the official code freezes whatever is under 1e-6 for ever. Its mean is
    unweighted: ``aggregation.weighting: uniform``.

    Args:
        rate: Fraction of each layer removed in the end, in [0, 1).
        fraction: Share of the survivors that goes at one event.
        accuracy: Validation accuracy above which a client prunes.
        compat: ``exact``, or ``lotteryfl``: the official percentile, which may pass the rate in the last event.
    """

    criterion: ClassVar[str] = "magnitude"
    cycle: ClassVar[str] = "iterative"
    sides: ClassVar[tuple[str, ...]] = ("client",)
    absent: ClassVar[str] = "holders"

    rate: Rate = 0.3
    fraction: Share = 0.2
    accuracy: Share = 0.2
    compat: Literal["exact", "lotteryfl"] = "exact"

    def check_scenario(self, scenario: Mapping[str, Any]) -> None:
        """Refuse to prune by the accuracy on nothing."""
        if self.rate and not scenario["data"]["validation"]:
            raise _without_validation()

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        """Mask the broadcast; prune and rewind where the masked weights are good enough."""
        state = client.state(self)
        mask = state.setdefault("mask", torch.ones_like(client.layout.prunable))
        with torch.no_grad():
            apply_(client.weights, mask)
        events = state.get("events", 0)
        if self._unfinished(mask, events, client.layout) and self._good_enough(client):
            mask = state["mask"] = ticket(client.weights, mask, client.layout, self.rate, self.fraction, self.compat)
            state["events"] = events + 1
            self._rewind(client, mask)
        client.mask = mask

    @hookimpl
    def on_client_evaluate(self, client: Client) -> None:
        """Evaluate the personal model: the weights under this client's mask."""
        mask = client.state(self).get("mask")
        with torch.no_grad():
            apply_(client.weights, mask)

    def _unfinished(self, mask: Tensor, events: int, layout: Layout) -> bool:
        if self.compat == "lotteryfl":
            return bool((1 - self.fraction) ** events > 1 - self.rate)
        prunable = zip(layout.sizes, layout.prunable_layers, strict=True)
        return int((~mask).sum()) < sum(num_pruned(self.rate, size) for size, allowed in prunable if allowed)

    def _good_enough(self, client: Client) -> bool:
        measured = client.evaluate("validation")
        if measured.num_samples == 0:
            raise _without_validation()
        return measured.accuracy > self.accuracy

    def _rewind(self, client: Client, mask: Tensor) -> None:
        if client.initial is None:
            raise RuntimeError("lotteryfl rewinds to client.initial, which the host did not give")
        client.weights = client.initial.masked_fill(~mask, 0.0)


def _without_validation() -> ScenarioError:
    return ScenarioError(
        "data.validation: lotteryfl prunes by each client's validation accuracy, got no validation images; give "
        "data.validation: 0.1"
    )
