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

from priprune_attacks.layers import Layer, factorable_layers, replaced
from priprune_attacks.objectives import Products
from priprune_attacks.paths import Formed
from priprune_attacks.products import formed_products
from priprune_attacks.target_batch import TargetBatch
from priprune_attacks.targets import Target
from priprune_attacks.trails import Trail, trail_of
from priprune_plugins import Layout

_log = logging.getLogger(__name__)
_TOLERANCE = 1e-3

__all__ = ["FactoredGradients", "Gradients", "PlainGradients", "TargetBatch", "gradients_of"]


class Gradients(Protocol):
    """A model at the victims' point, able to compare gradients with targets."""

    model: nn.Module

    def products(self, images: Tensor, labels: Tensor, targets: TargetBatch) -> Products:
        """Return the inner products, differentiable in images and labels.

        Args:
            images: ``[V, R, B, C, H, W]`` in [0, 1], requiring gradients.
            labels: ``[V, R, B, K]`` class probabilities.
            targets: One target per victim.
        """
        ...


class FactoredGradients:
    """All rows in one pass; weight gradients of Linear layers are never formed where a closed form is cheaper."""

    def __init__(self, model: nn.Module, layers: Sequence[Layer]) -> None:
        self.model = model
        self.layers = layers

    def products(self, images: Tensor, labels: Tensor, targets: TargetBatch) -> Products:
        trails = [trail_of(layer, (images.shape[0], images.shape[1]), targets.paths) for layer in self.layers]
        for chosen in targets.steps.batches(images.shape[2]):
            self._step(images[:, :, chosen], labels[:, :, chosen], trails)
        compared = targets.factored.layers
        pairs = {index: pair for trail in trails for index, pair in trail.products(compared).items()}
        return targets.products([pairs[index] for index in sorted(pairs)])

    def _step(self, images: Tensor, labels: Tensor, trails: Sequence[Trail]) -> None:
        with replaced(self.layers, [trail.forward for trail in trails]) as calls:
            logits = self.model(images.flatten(0, 2))
        records = [call for (call,) in calls]
        # Each image's loss is divided by B only: the rows' losses are summed, so that no row scales another's deltas.
        loss = functional.cross_entropy(logits, labels.flatten(0, 2), reduction="sum") / images.shape[2]
        deltas = torch.autograd.grad(loss, [output for _, output in records], create_graph=True)
        for trail, (inputs, _), delta in zip(trails, records, deltas, strict=True):
            trail.append(inputs, delta)


class PlainGradients:
    """Row by row by plain double backward: exact for any model, batch norm's mixing of a batch included; slow."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.requires_grad_()
        self.names = [name for name, _ in model.named_parameters()]

    def products(self, images: Tensor, labels: Tensor, targets: TargetBatch) -> Products:
        rows = [
            [self._mean_gradient(image, label, targets, victim) for image, label in zip(*of_victim, strict=True)]
            for victim, of_victim in enumerate(zip(images, labels, strict=True))
        ]
        pairs = []
        for index, layer in enumerate(targets.layers):
            grads = torch.stack([torch.stack([row[index] for row in of_victim]) for of_victim in rows])
            pairs.append(formed_products(grads, layer.dense, layer.mask))
        return targets.products(pairs)

    def _mean_gradient(self, images: Tensor, labels: Tensor, targets: TargetBatch, victim: int) -> list[Tensor]:
        """Return the mean gradient of one row over its local steps, per parameter tensor."""
        trail = [Formed(path.of_victim(victim)) for path in targets.paths]
        for chosen in targets.steps.batches(images.shape[0]):
            for tensor, grad in zip(trail, self._gradient(images[chosen], labels[chosen], trail), strict=True):
                tensor.gradients.append(grad.view(1, 1, *grad.shape))
        return [tensor.mean()[0, 0] for tensor in trail]

    def _gradient(self, images: Tensor, labels: Tensor, trail: Sequence[Formed]) -> list[Tensor]:
        """Return the gradient of one step's images at the weights that the trail leads to."""
        weights: list[Tensor] = list(self.model.parameters())
        if trail[0].gradients:
            weights = [weight + tensor.moved()[0, 0] for weight, tensor in zip(weights, trail, strict=True)]
        logits = torch.func.functional_call(self.model, dict(zip(self.names, weights, strict=True)), (images,))
        loss = functional.cross_entropy(logits, labels)
        grads = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, grads, strict=True)]


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
    with replaced(layers, [layer.forward for layer in layers]) as calls:
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
