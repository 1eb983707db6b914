"""The layers whose weight gradients are matched in factored form, and what one pass records of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from priprune_attacks.convolution import Geometry, convolve
from priprune_attacks.factors import Factors
from priprune_attacks.layer_masks import LayerMask
from priprune_attacks.weight_gradients import DIRECT_WORK
from priprune_plugins import Layout

Forward = Callable[[Tensor], Tensor]
Calls = list[list[tuple[Tensor, Tensor]]]


@dataclass(frozen=True, eq=False)
class LayerTarget:
    """Target ``[V, *shape]`` of one parameter tensor or its factors, and the mask of what is compared."""

    target: Tensor | Factors
    mask: LayerMask

    @property
    def dense(self) -> Tensor:
        """The target ``[V, *shape]``; what factors say where nothing is compared means nothing."""
        return self.target.left @ self.target.right if isinstance(self.target, Factors) else self.target


@dataclass(frozen=True, eq=False)
class Layer:
    """A Linear or Conv2d module and the positions of its parameters in the layout."""

    module: nn.Linear | nn.Conv2d
    weight: int
    bias: int | None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the module gives, by the way whose double backward is cheapest."""
        module = self.module
        if isinstance(module, nn.Conv2d):
            positions = inputs.shape[-2:].numel() // (module.stride[0] * module.stride[1])
            work = inputs.shape[0] * positions * module.weight.numel()
            if inputs.device.type == "cpu" and work >= DIRECT_WORK:
                return convolve(inputs, module.weight, Geometry.of(module), module.bias)
            return nn.Conv2d.forward(module, inputs)
        return nn.Linear.forward(module, inputs)


def factorable_layers(model: nn.Module, layout: Layout) -> tuple[Layer, ...] | None:
    """Return the layers that hold all parameters, or None where some parameter is not of a supported layer.

    Supported are Linear, and Conv2d with one group and zero padding given in pixels.
    """
    position = {name: index for index, name in enumerate(layout.names)}
    layers = []
    for name, module in model.named_modules():
        if type(module) is nn.Linear or (type(module) is nn.Conv2d and _plain(module)):
            bias = position.get(f"{name}.bias") if module.bias is not None else None
            layers.append(Layer(module, position.get(f"{name}.weight", -1), bias))
    held = [index for layer in layers for index in (layer.weight, layer.bias) if index is not None]
    return tuple(layers) if sorted(held) == list(range(len(layout.names))) else None


@contextmanager
def replaced(layers: Sequence[Layer], forwards: Sequence[Forward]) -> Iterator[Calls]:
    """Let each layer's module compute its entry of ``forwards`` inside the block; record (input, output) of every call.

    Functional calls with other parameters would not do: rows of a batch have different weights after a local step.
    """
    calls: Calls = [[] for _ in layers]

    def recording(forward: Forward, record: list[tuple[Tensor, Tensor]]) -> Forward:
        def run(inputs: Tensor) -> Tensor:
            output = forward(inputs)
            record.append((inputs, output))
            return output

        return run

    for layer, forward, record in zip(layers, forwards, calls, strict=True):
        layer.module.__dict__["forward"] = recording(forward, record)
    try:
        yield calls
    finally:
        for layer in layers:
            del layer.module.__dict__["forward"]


def _plain(module: nn.Conv2d) -> bool:
    return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
