"""The targets of a batch of victims, split by layer."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from priprune_attacks.factors import factors_of
from priprune_attacks.layer_masks import Dropped, LayerMask
from priprune_attacks.layers import LayerTarget
from priprune_attacks.objectives import Products
from priprune_attacks.paths import Path
from priprune_attacks.targets import Target
from priprune_plugins import Layout

# A handful of weights that are zero by chance do not make a whole layer pay for a mask.
_FEW_PER_VICTIM = 64


class TargetBatch:
    """The targets of V victims on one point with the same number of local steps."""

    def __init__(self, targets: Sequence[Target], layout: Layout) -> None:
        self.steps = targets[0].steps
        self.layers: list[LayerTarget] = []
        self.paths: list[Path] = []
        for shape, part in zip(layout.shapes, layout.slices, strict=True):
            stacked = torch.stack([target.gradient[part].view(shape) for target in targets])  # [V, *shape]
            self.layers.append(LayerTarget(stacked, _layer_mask(targets, part, shape)))
            self.paths.append(_path(targets, part, shape))
        squares = [torch.linalg.vecdot(layer.dense.flatten(1), layer.dense.flatten(1)) for layer in self.layers]
        self.square = torch.stack(squares, -1).unsqueeze(1)  # [V, 1, layers]

    @cached_property
    def factored(self) -> "TargetBatch":
        """The same batch, with thin factors in place of the targets of Linear layers that have them."""
        norms = self.square.sum((1, 2)).sqrt()
        for index, layer in enumerate(self.layers):
            if layer.dense.dim() == 3:
                factors = factors_of(layer.dense, _mask_of_factors(layer), norms)
                self.layers[index] = layer if factors is None else LayerTarget(factors, layer.mask)
        return self

    def products(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> Products:
        """Gather each layer's ``(dot [V, R], square [V, R])``, in the layout's order."""
        dots, squares = zip(*pairs, strict=True)
        return Products(torch.stack(dots, -1), torch.stack(squares, -1), self.square)


def _path(targets: Sequence[Target], part: slice, shape: torch.Size) -> Path:
    """Return how local steps move one parameter tensor; one step moves nothing that is looked at."""
    steps = targets[0].steps
    if steps.count == 1:
        return Path(steps)
    mask = _stacked([target.steps.mask for target in targets], part, shape, _everywhere, targets[0])
    offsets = [target.steps.masked_offset for target in targets]
    return Path(steps, mask, _stacked(offsets, part, shape, torch.zeros_like, targets[0]))


def _stacked(
    vectors: Sequence[Tensor | None], part: slice, shape: torch.Size, absent: Callable[[Tensor], Tensor], like: Target
) -> Tensor | None:
    """Return one part of all victims' vectors, ``[V or 1, *shape]`` in the dtype of the gradients, or None."""
    if all(vector is None for vector in vectors):
        return None
    rows = torch.stack([absent(like.gradient[part]) if vector is None else vector[part] for vector in vectors])
    if bool((rows == absent(rows)).all()):
        return None
    shared = rows[:1] if bool((rows == rows[:1]).all()) else rows
    return shared.view(-1, *shape).to(like.gradient.dtype)


def _layer_mask(targets: Sequence[Target], part: slice, shape: torch.Size) -> LayerMask:
    """Return what the masks of all victims are in one layer, in the form that its products are cheapest with."""
    mask = _stacked([target.mask for target in targets], part, shape, _everywhere, targets[0])
    if mask is None or len(shape) != 2:
        return mask
    kept = mask.amax(0, keepdim=True)
    everywhere = int((kept == 0).sum()) <= _FEW_PER_VICTIM
    holes = (mask == 0) if everywhere else (mask == 0) & (kept == 1)
    victims, outputs, inputs = torch.nonzero(holes.expand(len(targets), *shape), as_tuple=True)
    if len(victims) > len(targets) * min(_FEW_PER_VICTIM, kept.numel() // _FEW_PER_VICTIM):
        return mask
    if everywhere:
        return Dropped(victims, outputs, inputs)
    return Dropped(victims, outputs, inputs, kept) if len(victims) else kept


def _mask_of_factors(layer: LayerTarget) -> Tensor | None:
    """Return the mask that factors are multiplied by, or None."""
    if not isinstance(layer.mask, Dropped):
        return layer.mask
    return None if layer.mask.kept is None else layer.mask.dense(layer.dense.shape[0], layer.dense)


def _everywhere(like: Tensor) -> Tensor:
    return torch.ones_like(like, dtype=torch.bool)
