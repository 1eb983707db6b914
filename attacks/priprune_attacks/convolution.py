"""Convolution, and what its inputs and its weights get back: three bilinear maps, each the derivative of the others.

Autograd's own double backward of a convolution also forms the gradients of weights that never move. These functions
form what is asked for and nothing else, to any order. With ``groups`` a batch of rows with weights of their own is one
call.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

Pixels = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """How a Conv2d moves over its input, in pixels."""

    stride: Pixels
    padding: Pixels
    dilation: Pixels
    groups: int = 1

    @classmethod
    def of(cls, module: nn.Conv2d) -> "Geometry":
        padding = int(module.padding[0]), int(module.padding[1])
        return cls(_pair(module.stride), padding, _pair(module.dilation), module.groups)

    def times(self, rows: int) -> "Geometry":
        """Return the geometry of ``rows`` such convolutions side by side."""
        return replace(self, groups=self.groups * rows)

    def unfold(self, inputs: Tensor, kernel: Pixels) -> Tensor:
        """Return the patches ``[N, I, L]`` of inputs ``[N, C, H, W]``, I = C times the kernel's area."""
        if kernel == self.stride == (1, 1) and self.padding == (0, 0):
            return inputs.flatten(2)
        return functional.unfold(inputs, kernel, self.dilation, self.padding, self.stride)


def convolve(inputs: Tensor, weight: Tensor, geometry: Geometry, bias: Tensor | None = None) -> Tensor:
    """Return the convolution ``[N, O, H', W']`` of ``[N, C, H, W]``; no gradient is formed for ``bias``."""
    output: Tensor = _Convolve.apply(inputs, weight, geometry, bias)
    return output


def weight_gradient(inputs: Tensor, deltas: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
    """Return the gradient, of a weight's ``shape``, of a convolution with ``deltas`` at its output."""
    gradient: Tensor = _WeightGradient.apply(inputs, deltas, shape, geometry)
    return gradient


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, geometry: Geometry, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.geometry = geometry
        g = geometry
        return functional.conv2d(inputs, weight, bias, g.stride, g.padding, g.dilation, g.groups)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        inputs, weight = ctx.saved_tensors
        of_inputs, of_weight = ctx.needs_input_grad[:2]
        return (
            _InputGradient.apply(grads[0], weight, inputs.shape, ctx.geometry) if of_inputs else None,
            _WeightGradient.apply(inputs, grads[0], weight.shape, ctx.geometry) if of_weight else None,
            None,
            None,
        )


class _InputGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, deltas: Tensor, weight: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(deltas, weight)
        ctx.geometry = geometry
        g = geometry
        spread: Tensor = conv2d_input(shape, weight, deltas, g.stride, g.padding, g.dilation, g.groups)  # type: ignore[no-untyped-call]
        return spread

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        deltas, weight = ctx.saved_tensors
        of_deltas, of_weight = ctx.needs_input_grad[:2]
        return (
            _Convolve.apply(grads[0], weight, ctx.geometry, None) if of_deltas else None,
            _WeightGradient.apply(grads[0], deltas, weight.shape, ctx.geometry) if of_weight else None,
            None,
            None,
        )


class _WeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, deltas: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(inputs, deltas)
        ctx.geometry = geometry
        g = geometry
        formed: Tensor = conv2d_weight(inputs, shape, deltas, g.stride, g.padding, g.dilation, g.groups)  # type: ignore[no-untyped-call]
        return formed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        inputs, deltas = ctx.saved_tensors
        of_inputs, of_deltas = ctx.needs_input_grad[:2]
        return (
            _InputGradient.apply(deltas, grads[0], inputs.shape, ctx.geometry) if of_inputs else None,
            _Convolve.apply(inputs, grads[0], ctx.geometry, None) if of_deltas else None,
            None,
            None,
        )


def _pair(pixels: tuple[int, ...]) -> Pixels:
    return pixels[0], pixels[1]
