"""PruneFL's first stage: one client trains and prunes alone before the federation begins.

Reference: Jiang et al., arXiv:1909.12326, section III-A (initial pruning at a selected client).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call

from priprune_plugins import Layout
from priprune_plugins.masks import apply_
from priprune_pruners.gradients import Batches, buffers_like, loss_gradient, scoring_mode

Reconfigure = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(weights [D], mask [D], importance [D]) -> mask [D]``."""


@dataclass(frozen=True)
class InitialPruning:
    """How the first stage runs; the defaults that differ are for the cost.

    Args:
        passes: Passes over the client's batches at most. The official 1000 over ten batches take tens of minutes on
            Conv-2; a reconfiguration every 50 of them, as there, is ``passes: 1000, every: 50``.
        every: Passes between reconfigurations.
        start_factor: Reconfigurations begin once accuracy on the batches is this many times that of chance.
        settled: A reconfiguration that changes the number of kept weights by no more than this share changes little.
        patience: So many in a row that change little end the stage.
    """

    passes: int = 60
    every: int = 10
    start_factor: float = 1.5
    settled: float = 0.1
    patience: int = 5


@dataclass
class _Progress:
    """What the stage remembers from one reconfiguration to the next."""

    importance: Tensor
    started: int | None = None
    counts: list[int] = field(default_factory=list)

    def settled(self, plan: InitialPruning) -> bool:
        recent = self.counts[-plan.patience - 1 :]
        changes = [abs(now / before - 1) for before, now in pairwise(recent)]
        return len(changes) == plan.patience and max(changes) <= plan.settled


def initially_pruned(
    model: nn.Module,
    layout: Layout,
    weights: Tensor,
    batches: Batches,
    lr: float,
    classes: int,
    reconfigure: Reconfigure,
    plan: InitialPruning,
) -> tuple[Tensor, Tensor]:
    """Return the weights and the mask after the first stage, ``[D]`` each.

    SGD passes over ``batches``, squared dense gradients summed batch by batch, a reconfiguration every few passes. The
    official code's gradients are 0 where the mask is, so that its masks only shrink; here they are dense, as in the
    second stage. A stage that never starts reconfiguring does so once at its end.

    Args:
        model: Gives the architecture and the buffers, and is left as it was.
        layout: Layout of ``model``.
        weights: ``[D]`` where training begins.
        batches: The client's images and labels.
        lr: Learning rate.
        classes: Number of labels.
        reconfigure: Makes the next mask of weights, mask and importance.
        plan: How long, how often.
    """
    weights, mask = weights.detach().clone(), torch.ones_like(layout.prunable)
    progress = _Progress(torch.zeros_like(weights))
    for step in range(1, plan.passes + 1):
        for batch in batches:
            gradient = loss_gradient(model, layout, weights, [batch])
            progress.importance.addcmul_(gradient, gradient)
            apply_(weights.sub_(gradient, alpha=lr), mask)
        if progress.started is None and _accuracy(model, layout, weights, batches) >= plan.start_factor / classes:
            progress.started = step
        if progress.started is not None and (step - progress.started) % plan.every == 0:
            mask = _reconfigure(weights, mask, progress, reconfigure)
            if progress.settled(plan):
                return weights, mask
    if not progress.counts:
        mask = _reconfigure(weights, mask, progress, reconfigure)
    return weights, mask


def _reconfigure(weights: Tensor, mask: Tensor, progress: _Progress, reconfigure: Reconfigure) -> Tensor:
    mask = reconfigure(weights, mask, progress.importance)
    apply_(weights, mask)
    progress.importance.zero_()
    progress.counts.append(int(mask.sum()))
    return mask


def _accuracy(model: nn.Module, layout: Layout, weights: Tensor, batches: Batches) -> float:
    right = total = 0
    with scoring_mode(model, batch_statistics=True), torch.no_grad():
        for images, labels in batches:
            state = {**layout.unflatten(weights), **buffers_like(model, weights)}
            right += int((functional_call(model, state, (images,)).argmax(1) == labels).sum())
            total += labels.numel()
    return right / total
