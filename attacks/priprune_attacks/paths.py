"""One parameter tensor along the local steps of all rows.

Axes: V victims, R restarts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from priprune_attacks.local_steps import LocalSteps


@dataclass(frozen=True, eq=False)
class Path:
    """How local steps move one parameter tensor.

    Args:
        steps: What the server knows of them.
        mask: ``[V or 1, *shape]``, 1 where the base mask lets it move; None = everywhere.
        offset: ``[V or 1, *shape]`` what is added to each step's gradient, 0 where the mask is; None = nothing.
    """

    steps: LocalSteps
    mask: Tensor | None = None
    offset: Tensor | None = None

    def of_victim(self, victim: int) -> "Path":
        """Return the path of one victim alone."""
        mask, offset = (
            value if value is None or value.shape[0] == 1 else value[victim : victim + 1]
            for value in (self.mask, self.offset)
        )
        return Path(self.steps, mask, offset)

    def moved_by_offset(self, steps_done: int) -> Tensor | None:
        """Return ``[V or 1, 1, *shape]`` how far the offset alone has moved it, or None."""
        if self.offset is None:
            return None
        return -self.steps.lr * sum(self.steps.shares(steps_done)) * self.offset.unsqueeze(1)


@dataclass(eq=False)
class Formed:
    """The gradients ``[V, R, *shape]`` of a tensor small enough to form them: a bias, a convolution's weight."""

    path: Path
    gradients: list[Tensor] = field(default_factory=list)

    def moved(self) -> Tensor:
        """Return ``[V, R, *shape]`` how far the tensor is from where training began; there is a step behind it."""
        steps = self.path.steps
        moved = -steps.lr * weighted_sum(self.gradients, steps.shares(len(self.gradients)))
        if self.path.mask is not None:
            moved = moved * self.path.mask.unsqueeze(1)
        by_offset = self.path.moved_by_offset(len(self.gradients))
        return moved if by_offset is None else moved + by_offset

    def mean(self) -> Tensor:
        """Return the gradient that the move looks like, ``[V, R, *shape]``: a step's own where there was one."""
        if len(self.gradients) == 1:
            return self.gradients[0]
        shares = self.path.steps.shares(len(self.gradients))
        return weighted_sum(self.gradients, [share / len(shares) for share in shares])


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the sum of each tensor times its weight."""
    total = weights[0] * tensors[0]
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        total = torch.add(total, tensor, alpha=weight)
    return total
