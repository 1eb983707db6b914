"""Batch-norm statistics as a prior: a batch whose layers' means and variances are those that the server holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from priprune_plugins import Observation

Source = Literal["upload", "broadcast"]
_NORMS = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class BatchNormStatistics:
    """Penalise the distance of each batch norm's input statistics to known ones, weighted.

    Where the clients send their buffers (``buffers: average``), one local step gives the batch's own statistics away:
    ``running' = (1 - momentum) running + momentum batch`` is solved for the batch. That is a strong threat, far
    beyond the running statistics that the paper takes; ``source`` names which one stands behind a figure. After
    several local steps the uploaded running statistics are taken as they are.

    Args:
        weight: Factor on the penalty.
        source: ``upload``: from the buffers that the client sent; ``broadcast``: the running statistics that it was
            sent, as in the paper. Without those buffers, or without batch norms, the penalty is 0.

    Reference: Yin et al., "See through Gradients", CVPR 2021, arXiv:2104.07586, equation 8. The sum of its norms is
    divided by the number of layers' channels, so that the weight does not depend on the width of the model.
    """

    weight: float
    source: Source = "upload"

    def __call__(self, images: Tensor, model: nn.Module, observations: Sequence[Observation]) -> Tensor:
        norms = {name: module for name, module in model.named_modules() if isinstance(module, _NORMS)}
        known = [known_statistics(norms, observation, self.source) for observation in observations]
        if not norms or any(statistics is None for statistics in known):
            return images.new_zeros(images.shape[:2])
        rows = [
            torch.stack([_distance(model, norms, row, statistics) for row in of_victim])
            for of_victim, statistics in zip(images, known, strict=True)
            if statistics is not None
        ]
        return self.weight * torch.stack(rows)


Statistics = Mapping[str, tuple[Tensor, Tensor]]


def known_statistics(norms: Mapping[str, nn.Module], observation: Observation, source: Source) -> Statistics | None:
    """Return mean and unbiased variance ``[C]`` of each norm's input as the server knows them, or None."""
    before, after = observation.broadcast_buffers, observation.buffers
    held = after if source == "upload" else before
    if any(f"{name}.running_mean" not in held for name in norms):
        return None
    single = observation.facts.steps(observation.num_samples) == 1
    found = {}
    for name, norm in norms.items():
        pair = [held[f"{name}.{kind}"] for kind in ("running_mean", "running_var")]
        if source == "upload" and single:
            momentum = norm.momentum
            assert isinstance(momentum, float)
            old = [before[f"{name}.{kind}"] for kind in ("running_mean", "running_var")]
            pair = [(new - (1.0 - momentum) * was) / momentum for new, was in zip(pair, old, strict=True)]
        found[name] = (pair[0], pair[1])
    return found


def _distance(model: nn.Module, norms: Mapping[str, nn.Module], images: Tensor, statistics: Statistics) -> Tensor:
    """Return the summed distances of one row ``[B, C, H, W]``, by one more forward pass."""
    terms: list[Tensor] = []

    def compare(name: str, inputs: Tensor) -> None:
        mean, variance = statistics[name]
        axes = [axis for axis in range(inputs.dim()) if axis != 1]
        found = inputs.mean(axes), inputs.var(axes)
        terms.append(
            sum(((a - b).norm() for a, b in zip(found, (mean, variance), strict=True)), found[0].new_zeros(()))
        )

    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs, name=name: compare(name, inputs[0]))
        for name, norm in norms.items()
    ]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(terms).sum() / sum(mean.numel() for mean, _ in statistics.values())
