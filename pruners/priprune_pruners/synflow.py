"""SynFlow: keep the synaptic flow of the net, without data.

Reference: Tanaka, Kunin, Yamins, Ganguli, "Pruning neural networks without any data by iteratively conserving
synaptic flow", NeurIPS 2020, arXiv:2006.05467, equation 3 and Algorithm 1.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from priprune_plugins import Count, Layout, Rate, ScenarioError, Server, hookimpl
from priprune_pruners.gradients import buffers_like, scoring_mode
from priprune_pruners.schedules import Path, density_at
from priprune_pruners.selection import select
from priprune_pruners.targets import Targets


def synflow_scores(
    model: nn.Module, layout: Layout, weights: Tensor, mask: Tensor, image_shape: tuple[int, ...]
) -> Tensor:
    """Return ``|w| * dR/d|w|``, shape ``[D]``, in the dtype of ``weights``; 0 where pruned.

    ``R`` is the sum of the logits of the net with every parameter and buffer replaced by its absolute value, pruned
    weights by 0, in evaluation mode, at one input of ones. The model is left as it was.

    Args:
        model: Gives the architecture and the buffers.
        layout: Layout of ``model``.
        weights: ``[D]``; float64 keeps deep nets from underflow.
        mask: ``[D]`` bool, True = kept.
        image_shape: ``(C, H, W)``, or the shape of one input of any kind.
    """
    magnitudes = weights.detach().abs().masked_fill_(~mask, 0.0)
    leaves = {name: part.detach().requires_grad_() for name, part in layout.unflatten(magnitudes).items()}
    buffers = {name: buffer.abs() for name, buffer in buffers_like(model, weights).items()}
    ones = torch.ones(1, *image_shape, dtype=weights.dtype, device=weights.device)
    with scoring_mode(model, batch_statistics=False):
        flow = functional_call(model, {**leaves, **buffers}, (ones,)).sum()
        grads = torch.autograd.grad(flow, list(leaves.values()), materialize_grads=True)
    return torch.cat([grad.reshape(-1) for grad in grads]).mul_(magnitudes)


def synflow_mask(
    model: nn.Module,
    layout: Layout,
    weights: Tensor,
    candidates: Tensor,
    rate: float,
    image_shape: tuple[int, ...],
    iterations: int = 100,
    path: Path = "exponential",
    rule: str = "exact",
) -> Tensor:
    """Return the mask after ``iterations`` rounds of scoring and pruning, ``[D]`` bool.

    Args:
        model: Gives the architecture and the buffers.
        layout: Layout of ``model``.
        weights: ``[D]``, scored in float64.
        candidates: ``[D]`` bool, which coordinates may go.
        rate: Fraction of the candidates removed in the end.
        image_shape: ``(C, H, W)``.
        iterations: Steps of the density's path; one alone prunes whole layers.
        path: ``exponential`` or ``linear`` density.
        rule: Selection rule of each step.

    Weights that carry no flow at all go together at the first step, as in the official code: on VGG-11 those are the
    parts of the last kernels that see only padding where the pooling looks.

    Raises:
        ScenarioError: A layer lost all its weights, or more weights carry no flow than are to go.
    """
    double, mask = weights.detach().double(), torch.ones_like(candidates)
    for step in range(1, iterations + 1 if rate > 0 else 1):
        scores = synflow_scores(model, layout, double, mask, image_shape)
        scores.masked_fill_(~mask, -torch.inf)
        goes = max(1 - density_at(step, iterations, rate, path), _share_without_flow(scores, candidates, rate))
        before, mask = mask, select(scores, candidates, goes, rule)
        _refuse_collapse(scores, before & ~mask, mask & candidates, candidates, layout, f"step {step} of {iterations}")
    return mask


def _share_without_flow(scores: Tensor, candidates: Tensor, most: float) -> float:
    share = int((candidates & (scores <= 0)).count_nonzero()) / max(int(candidates.count_nonzero()), 1)
    return share if share <= most else 0.0


def _refuse_collapse(
    scores: Tensor, removed: Tensor, kept: Tensor, candidates: Tensor, layout: Layout, where: str
) -> None:
    layers = zip(layout.names, layout.layers(candidates), layout.layers(kept), strict=True)
    dead = [name for name, allowed, left in layers if bool(allowed.any()) and not bool(left.any())]
    if dead:
        advice = "lower pruner.rate or take more pruner.iterations"
        raise ScenarioError(f"pruner synflow: layer {dead[0]} lost all its weights at {where}; {advice}")
    # A removed score of 0 beside a kept one of 0: the choice between them would mean nothing.
    dry = scores == 0
    if bool((dry & removed).any()) and bool((dry & kept).any()):
        raise ScenarioError(
            f"pruner synflow: the flow is 0 or underflowed in more weights than go, no order left at {where}; raise "
            "pruner.rate or choose another pruner"
        )


@dataclass(frozen=True, eq=False)
class SynFlow(Targets):
    """One mask at round 0 from the architecture and the initial weights alone, at the server.

    Departures: float64 scoring, and an error on collapse (a dead layer, or more weights without flow than are to go),
    where the official code keeps a mask of another size. Our models standardise their input themselves: the input of
    ones passes through that, so channels may weigh differently where the data set's constants differ per channel.

    Args:
        rate: Fraction of the prunable weights removed, in [0, 1).
        iterations: Steps of scoring and pruning before training; the paper's 100.
        schedule: Path of the density, ``exponential`` as in the paper or ``linear``.
        compat: ``exact``, or the official ``synaptic_flow`` rule.
    """

    criterion: ClassVar[str] = "gradient"
    cycle: ClassVar[str] = "one shot"
    sides: ClassVar[tuple[str, ...]] = ("server",)

    rate: Rate = 0.3
    iterations: Count = 100
    schedule: Path = "exponential"
    compat: Literal["exact", "synaptic_flow"] = "exact"

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        """Set the mask: made at the first round, the same ever after."""
        state = server.state(self)
        if "mask" not in state:
            state["mask"] = self._mask(server)
        server.mask = state["mask"]

    def _mask(self, server: Server) -> Tensor:
        layout, facts = server.layout, server.facts
        return synflow_mask(
            facts.build_model(),
            layout,
            server.weights,
            self.candidates(layout),
            self.rate,
            facts.image_shape,
            self.iterations,
            self.schedule,
            self.compat,
        )
