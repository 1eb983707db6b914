"""Inner products of the victims' dummy gradients with their targets: factored for speed, plain for every other model.

Victims and restarts are rows of one batch on shared weights. Both engines give the same to rounding; which one fits is
checked on the model itself, not guessed from its class.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_attacks.layers import Layer, LayerTarget, factorable_layers, recording
from priprune_attacks.objectives import Products
from priprune_attacks.products import Dropped, LayerMask, formed_products
from priprune_attacks.targets import Target
from priprune_plugins import Layout

_log = logging.getLogger(__name__)
_TOLERANCE = 1e-3
# A handful of weights that are zero by chance do not make a whole layer pay for a mask.
_FEW_PER_VICTIM = 64


class Gradients(Protocol):
    """A model at the victims' point, able to compare gradients with targets."""

    model: nn.Module

    def products(self, images: Tensor, labels: Tensor, targets: "TargetBatch") -> Products:
        """Return the inner products, differentiable in images and labels.

        Args:
            images: ``[V, R, B, C, H, W]`` in [0, 1], requiring gradients.
            labels: ``[V, R, B, K]`` class probabilities.
            targets: One target per victim.
        """
        ...


class TargetBatch:
    """The targets of V victims on one point, split by layer."""

    def __init__(self, targets: Sequence[Target], layout: Layout) -> None:
        self.layers = []
        for shape, part in zip(layout.shapes, layout.slices, strict=True):
            stacked = torch.stack([target.gradient[part].view(shape) for target in targets])  # [V, *shape]
            self.layers.append(LayerTarget(stacked, _layer_mask(targets, part, shape)))
        squares = [torch.linalg.vecdot(layer.target.flatten(1), layer.target.flatten(1)) for layer in self.layers]
        self.square = torch.stack(squares, -1).unsqueeze(1)  # [V, 1, layers]

    def products(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> Products:
        """Gather each layer's ``(dot [V, R], square [V, R])``, in the layout's order."""
        dots, squares = zip(*pairs, strict=True)
        return Products(torch.stack(dots, -1), torch.stack(squares, -1), self.square)


class FactoredGradients:
    """All rows in one pass; weight gradients of Linear layers are never formed where a closed form is cheaper."""

    def __init__(self, model: nn.Module, layers: Sequence[Layer]) -> None:
        self.model = model
        self.layers = layers

    def products(self, images: Tensor, labels: Tensor, targets: TargetBatch) -> Products:
        rows = (images.shape[0], images.shape[1])
        with recording(self.layers) as calls:
            logits = self.model(images.flatten(0, 2))
        records = [call for (call,) in calls]
        # Each image's loss is divided by B only: the rows' losses are summed, so that no row scales another's deltas.
        loss = functional.cross_entropy(logits, labels.flatten(0, 2), reduction="sum") / images.shape[2]
        deltas = torch.autograd.grad(loss, [output for _, output in records], create_graph=True)
        pairs: dict[int, tuple[Tensor, Tensor]] = {}
        for layer, (inputs, _), delta in zip(self.layers, records, deltas, strict=True):
            pairs |= layer.products(inputs, delta, targets.layers, rows)
        return targets.products([pairs[index] for index in sorted(pairs)])


class PlainGradients:
    """Row by row by plain double backward: exact for any model, batch norm's mixing of a batch included; slow."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.requires_grad_()
        self.parameters = list(model.parameters())

    def products(self, images: Tensor, labels: Tensor, targets: TargetBatch) -> Products:
        victims, restarts = images.shape[:2]
        rows = [[self._gradient(images[v, r], labels[v, r]) for r in range(restarts)] for v in range(victims)]
        pairs = []
        for index, layer in enumerate(targets.layers):
            grads = torch.stack([torch.stack([row[index] for row in of_victim]) for of_victim in rows])
            pairs.append(formed_products(grads, layer.target, layer.mask))
        return targets.products(pairs)

    def _gradient(self, images: Tensor, labels: Tensor) -> list[Tensor]:
        loss = functional.cross_entropy(self.model(images), labels)
        grads = torch.autograd.grad(loss, self.parameters, create_graph=True, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, grads, strict=True)]


def gradients_of(model: nn.Module, layout: Layout, image_shape: Sequence[int], num_classes: int) -> Gradients:
    """Return the factored engine where it gives this model's true gradients, else the plain one."""
    layers = factorable_layers(model, layout)
    if layers is not None and _agrees(model, layers, layout, image_shape, num_classes):
        return FactoredGradients(model, layers)
    _log.info("the model is matched by plain double backward, row by row: its layers do not factor")
    return PlainGradients(model)


def _agrees(
    model: nn.Module, layers: Sequence[Layer], layout: Layout, image_shape: Sequence[int], num_classes: int
) -> bool:
    """Compare both engines on two rows of noise: a layer used twice or a model that mixes its batch shows here."""
    point = next(model.parameters())
    noise = torch.Generator().manual_seed(0)
    images = torch.rand(2, 1, 2, *image_shape, generator=noise).to(point).requires_grad_()
    labels = functional.one_hot(torch.arange(4) % num_classes, num_classes).view(2, 1, 2, -1).to(point)
    with recording(layers) as calls:
        model(images.flatten(0, 2))
    if any(len(call) != 1 for call in calls):
        return False
    random = torch.randn(2, layout.num_parameters, generator=noise).to(point)
    targets = TargetBatch([Target(row, row, None) for row in random], layout)
    factored = FactoredGradients(model, layers).products(images, labels, targets)
    plain = PlainGradients(model).products(images, labels, targets)
    model.requires_grad_(False)
    scale = (plain.square * plain.target_square).sqrt()
    close = (factored.dot - plain.dot).abs() <= _TOLERANCE * scale + torch.finfo(scale.dtype).tiny
    return bool((close & torch.isclose(factored.square, plain.square, rtol=_TOLERANCE)).all())


def _layer_mask(targets: Sequence[Target], part: slice, shape: torch.Size) -> LayerMask:
    """Return what the masks of all victims are in one layer, in the form that its products are cheapest with."""
    if all(target.mask is None for target in targets):
        return None
    masks = torch.stack([_mask_of(target)[part] for target in targets])  # [V, size]
    dropped = len(targets) * masks.shape[1] - int(masks.sum())
    if dropped == 0:
        return None
    if len(shape) == 2 and dropped <= min(_FEW_PER_VICTIM * len(targets), masks.numel() // _FEW_PER_VICTIM):
        victims, flat = torch.nonzero(~masks, as_tuple=True)
        return Dropped(victims, flat // shape[1], flat % shape[1])
    shared = masks[:1] if bool((masks == masks[:1]).all()) else masks
    return shared.view(-1, *shape).to(targets[0].gradient.dtype)


def _mask_of(target: Target) -> Tensor:
    return torch.ones_like(target.gradient, dtype=torch.bool) if target.mask is None else target.mask
