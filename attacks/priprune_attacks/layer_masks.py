"""Which entries of a layer's gradient are compared, in the form that its products are cheapest with.

Axes: V victims, R restarts, O outputs, I inputs.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dropped:
    """Few entries of a Linear weight that are not compared, in three index tensors of equal length.

    They are dropped from ``kept [1, O, I]``, what is compared of some victim at least, or from everything.
    """

    victims: Tensor
    outputs: Tensor
    inputs: Tensor
    kept: Tensor | None = None

    def dense(self, num_victims: int, like: Tensor) -> Tensor:
        """Return the masks of all victims, ``[V, O, I]``, for gradients ``like [..., O, I]``."""
        every = like.new_ones(like.shape[-2:]) if self.kept is None else self.kept
        masks = every.expand(num_victims, *like.shape[-2:]).clone()
        masks[self.victims, self.outputs, self.inputs] = 0.0
        return masks


# None: everything is compared. A tensor: 0 and 1 in the deltas' dtype, [V, *shape], or [1, *shape] for all victims.
LayerMask = Tensor | Dropped | None


def masked(grads: Tensor, mask: LayerMask) -> Tensor:
    """Return formed gradients ``[V, R, *shape]`` with 0 where they are not compared."""
    if mask is None:
        return grads
    if isinstance(mask, Dropped):
        return grads * mask.dense(grads.shape[0], grads).unsqueeze(1)
    return grads * mask.unsqueeze(1)
