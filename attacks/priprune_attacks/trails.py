"""What one layer leaves along the local steps of all rows: its output at the next step, and its mean gradient.

Axes: V victims, R restarts, B images of a step, N samples (images times positions), O outputs, I inputs. A Linear
layer's steps stay factored: ``x (W - lr M * D^T A)^T``, with the deltas ``D`` and inputs ``A`` of the steps so far,
needs no weights of a row's own. A convolution's weights are small, so each row gets its own after the first step.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from priprune_attacks.convolution import Geometry, convolve
from priprune_attacks.layers import Layer, LayerTarget
from priprune_attacks.masked_product import masked_product
from priprune_attacks.paths import Formed, Path
from priprune_attacks.products import Pair, formed_products, linear_products
from priprune_attacks.weight_gradients import convolution_gradient, side_by_side


class Trail(Protocol):
    """One layer along the steps of ``rows = (V, R)``."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the layer's output ``[V*R*B, ...]`` after the steps so far."""
        ...

    def append(self, inputs: Tensor, deltas: Tensor) -> None:
        """Take a step's inputs and loss gradients at the output, ``[V*R*B, ...]`` each."""
        ...

    def products(self, targets: Sequence[LayerTarget]) -> dict[int, Pair]:
        """Return ``<g, G>`` and ``||M * g||^2``, each ``[V, R]``, by position in the layout."""
        ...


class LinearTrail:
    """A Linear layer along the steps."""

    def __init__(self, layer: Layer, rows: tuple[int, int], paths: Sequence[Path]) -> None:
        self.layer, self.rows, self.path = layer, rows, paths[layer.weight]
        self.bias = Formed(paths[layer.weight if layer.bias is None else layer.bias])
        self.inputs: list[Tensor] = []  # [V, R, N, I] each
        self.deltas: list[Tensor] = []  # [V, R, N, O] each

    def forward(self, inputs: Tensor) -> Tensor:
        output = self.layer.forward(inputs)
        if not self.inputs:
            return output
        x = inputs.reshape(*self.rows, -1, inputs.shape[-1])
        lr = self.path.steps.lr
        moved = masked_product(x, self._deltas(lr), torch.cat(self.inputs, 2), self.path.mask)
        by_offset = self.path.moved_by_offset(len(self.inputs))
        if by_offset is not None:
            moved = moved - x @ by_offset.mT
        if self.layer.bias is not None:
            moved = moved - self.bias.moved().unsqueeze(2)
        return output - moved.view_as(output)

    def append(self, inputs: Tensor, deltas: Tensor) -> None:
        self.inputs.append(inputs.reshape(*self.rows, -1, inputs.shape[-1]))
        self.deltas.append(deltas.reshape(*self.rows, -1, deltas.shape[-1]))
        self.bias.gradients.append(self.deltas[-1].sum(2))

    def products(self, targets: Sequence[LayerTarget]) -> dict[int, Pair]:
        deltas = self.deltas[0] if len(self.deltas) == 1 else self._deltas(1.0 / len(self.deltas))
        inputs = self.inputs[0] if len(self.inputs) == 1 else torch.cat(self.inputs, 2)
        weight = targets[self.layer.weight]
        pair = linear_products(deltas, inputs, weight.target, weight.mask)
        return {self.layer.weight: pair} | _bias_products(self.layer, self.bias, targets)

    def _deltas(self, scale: float) -> Tensor:
        """Return the deltas ``[V, R, N of all steps, O]``, each step's times its share and ``scale``."""
        shares = self.path.steps.shares(len(self.deltas))
        return torch.cat([scale * share * delta for share, delta in zip(shares, self.deltas, strict=True)], 2)


class ConvolutionTrail:
    """A convolution along the steps."""

    def __init__(self, layer: Layer, module: nn.Conv2d, rows: tuple[int, int], paths: Sequence[Path]) -> None:
        self.layer, self.module, self.rows = layer, module, rows
        self.geometry = Geometry.of(module)
        self.weight = Formed(paths[layer.weight])
        self.bias = Formed(paths[layer.weight if layer.bias is None else layer.bias])

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.weight.gradients:
            return self.layer.forward(inputs)
        weight = self.module.weight + self.weight.moved()  # [V, R, O, C, k, k]
        x = side_by_side(self._by_row(inputs))
        output = convolve(x, weight.flatten(0, 2), self.geometry.times(weight.shape[:2].numel()))
        output = output.view(output.shape[0], -1, weight.shape[2], *output.shape[2:]).transpose(
            0, 1
        )  # [V*R, B, O, H, W]
        if self.module.bias is not None:
            bias = self.module.bias + self.bias.moved()  # [V, R, O]
            output = output + bias.flatten(0, 1)[:, None, :, None, None]
        return output.flatten(0, 1)

    def append(self, inputs: Tensor, deltas: Tensor) -> None:
        d = self._by_row(deltas)
        shape = self.module.weight.shape
        self.weight.gradients.append(convolution_gradient(d, self._by_row(inputs), shape, self.geometry))
        self.bias.gradients.append(d.sum((2, 4, 5)))

    def products(self, targets: Sequence[LayerTarget]) -> dict[int, Pair]:
        weight = targets[self.layer.weight]
        pair = formed_products(self.weight.mean(), weight.dense, weight.mask)
        return {self.layer.weight: pair} | _bias_products(self.layer, self.bias, targets)

    def _by_row(self, images: Tensor) -> Tensor:
        return images.reshape(*self.rows, -1, *images.shape[1:])  # [V, R, B, ...]


def trail_of(layer: Layer, rows: tuple[int, int], paths: Sequence[Path]) -> Trail:
    """Return an empty trail of ``layer`` for ``rows = (V, R)``, with one path per parameter tensor of the layout."""
    module = layer.module
    if isinstance(module, nn.Conv2d):
        return ConvolutionTrail(layer, module, rows, paths)
    return LinearTrail(layer, rows, paths)


def _bias_products(layer: Layer, bias: Formed, targets: Sequence[LayerTarget]) -> dict[int, Pair]:
    if layer.bias is None:
        return {}
    target = targets[layer.bias]
    return {layer.bias: formed_products(bias.mean(), target.dense, target.mask)}
