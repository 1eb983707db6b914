"""The layers whose weight gradients are matched in factored form, and what one pass records of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from priprune_attacks.products import LayerMask, Pair, convolution_products, formed_products, linear_products
from priprune_plugins import Layout


@dataclass(frozen=True, eq=False)
class LayerTarget:
    """Target ``[V, *shape]`` of one parameter tensor, and the mask of what is compared."""

    target: Tensor
    mask: LayerMask


@dataclass(frozen=True, eq=False)
class Layer:
    """A Linear or Conv2d module and the positions of its parameters in the layout."""

    module: nn.Linear | nn.Conv2d
    weight: int
    bias: int | None

    def products(
        self, inputs: Tensor, deltas: Tensor, targets: Sequence[LayerTarget], rows: tuple[int, int]
    ) -> dict[int, Pair]:
        """Return ``<g, G>`` and ``||M * g||^2``, each ``[V, R]``, by position in the layout.

        Args:
            inputs: ``[V*R*B, ...]`` what the module took.
            deltas: ``[V*R*B, ...]`` gradient of the loss at what the module gave.
            targets: One per parameter tensor of the whole layout.
            rows: ``(V, R)``.
        """
        weight = targets[self.weight]
        if isinstance(self.module, nn.Linear):
            a = inputs.reshape(*rows, -1, self.module.in_features)
            d = deltas.reshape(*rows, -1, self.module.out_features)
            result = {self.weight: linear_products(d, a, weight.target, weight.mask)}
            summed = d.sum(2)
        else:
            patches = _unfolded(self.module, inputs)  # [V*R*B, I, L]
            d = deltas.reshape(*rows, -1, self.module.out_channels, patches.shape[-1])  # [V, R, B, O, L]
            patches = patches.view(*rows, -1, *patches.shape[1:])  # [V, R, B, I, L]
            result = {self.weight: convolution_products(d, patches, weight.target, weight.mask)}
            summed = d.sum((2, -1))
        if self.bias is not None:
            bias = targets[self.bias]
            result[self.bias] = formed_products(summed, bias.target, bias.mask)
        return result


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
def recording(layers: Sequence[Layer]) -> Iterator[list[list[tuple[Tensor, Tensor]]]]:
    """Record (input, output) of every call of each layer inside the block."""
    calls: list[list[tuple[Tensor, Tensor]]] = [[] for _ in layers]

    def recorder(index: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _, inputs, output: calls[index].append((inputs[0], output))

    hooks = [layer.module.register_forward_hook(recorder(i)) for i, layer in enumerate(layers)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _plain(module: nn.Conv2d) -> bool:
    return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _unfolded(module: nn.Conv2d, inputs: Tensor) -> Tensor:
    padding = (int(module.padding[0]), int(module.padding[1]))
    kernel, dilation, stride = module.kernel_size, module.dilation, module.stride
    if kernel == (1, 1) and stride == (1, 1) and padding == (0, 0):
        return inputs.flatten(2)
    return functional.unfold(inputs, kernel, dilation, padding, stride)
