"""The gradients that candidate images would give, layer by layer and, where they are outer products, never formed.

For one image the weight gradient of a Linear layer is ``d a^T``, deltas times inputs. A sum over its entries of
``f(g_ij) W_ij`` is then ``f(d)^T W f(a)`` for every multiplicative ``f``: the identity, the absolute value, the square.
That is all that comparing candidates with an upload takes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_attacks.layers import Layer, factorable_layers
from priprune_plugins import LabelledSet, Layout

_AT_ONCE = 64
# Numbers of formed convolution gradients that live at once.
_MOST_FORMED = 1 << 25


@dataclass(frozen=True, eq=False)
class LayerGradients:
    """The gradients of N candidates at one parameter tensor.

    Args:
        layer: Position of the tensor in the layout.
        outer: Deltas ``[N, O]`` and inputs ``[N, I]`` whose outer products they are, or None.
        formed: ``[N, size]`` the gradients themselves, or None.
    """

    layer: int
    outer: tuple[Tensor, Tensor] | None = None
    formed: Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the gradients."""
        held = self.formed if self.outer is None else self.outer[0]
        assert held is not None
        return held.dtype

    def weighted(self, weights: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return ``[N]``: for each candidate the sum over entries of ``function(g)`` times ``weights [size]``.

        Args:
            weights: One number per entry.
            function: Multiplicative: ``f(xy) = f(x) f(y)``.
        """
        if self.formed is not None:
            return function(self.formed) @ weights
        assert self.outer is not None
        deltas, inputs = (function(factor) for factor in self.outer)
        return ((deltas @ weights.view(deltas.shape[1], inputs.shape[1])) * inputs).sum(1)


def candidate_gradients(model: nn.Module, layout: Layout, candidates: LabelledSet) -> Iterator[list[LayerGradients]]:
    """Yield the gradients of some candidates at a time, in order, one entry per parameter tensor.

    Each candidate is alone in its batch. A model with other parameters than those of Linear and plain Conv2d layers is
    differentiated candidate by candidate, which is slow.

    Args:
        model: At the weights that the gradients are taken at; nothing in it requires gradients.
        layout: Its layout.
        candidates: Images ``[N, C, H, W]`` and their labels, on the model's device.
    """
    mixes = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    layers = None if mixes else factorable_layers(model, layout)
    size = 1 if layers is None else max(1, min(_AT_ONCE, _MOST_FORMED // _formed_entries(layers)))
    for start in range(0, len(candidates), size):
        part = slice(start, start + size)
        images = candidates.images[part].to(next(model.parameters()).dtype)
        labels = candidates.labels[part]
        found = None if layers is None else _factored(model, layers, images, labels)
        yield from _one_by_one(model, images, labels) if found is None else [found]


def _formed_entries(layers: Sequence[Layer]) -> int:
    return 1 + sum(layer.module.weight.numel() for layer in layers if isinstance(layer.module, nn.Conv2d))


def _factored(model: nn.Module, layers: Sequence[Layer], images: Tensor, labels: Tensor) -> list[LayerGradients] | None:
    """Return the gradients of all candidates from one pass, or None where a layer is not called exactly once."""
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    hooks = [
        layer.module.register_forward_hook(lambda module, given, out: calls.append((module, given[0], out)))
        for layer in layers
    ]
    try:
        # Weights that require no gradient leave a graph only where the images require one.
        loss = functional.cross_entropy(model(images.clone().requires_grad_()), labels, reduction="sum")
    finally:
        for hook in hooks:
            hook.remove()
    of_module: dict[nn.Module, Layer] = {layer.module: layer for layer in layers}
    if len(calls) != len(layers) or {module for module, _, _ in calls} != of_module.keys():
        return None
    deltas = torch.autograd.grad(loss, [output for _, _, output in calls])
    found = []
    for (module, inputs, _), delta in zip(calls, deltas, strict=True):
        found += _of_layer(of_module[module], inputs.detach(), delta)
    return found


def _of_layer(layer: Layer, inputs: Tensor, deltas: Tensor) -> list[LayerGradients]:
    module = layer.module
    if isinstance(module, nn.Linear) and inputs.dim() == 2:
        return [LayerGradients(layer.weight, outer=(deltas, inputs)), *_of_bias(layer, deltas)]
    if isinstance(module, nn.Linear):
        across, along = deltas.flatten(1, -2).mT, inputs.flatten(1, -2)  # [N, O, L], [N, L, I]
    else:
        padding = (int(module.padding[0]), int(module.padding[1]))
        along = functional.unfold(inputs, module.kernel_size, module.dilation, padding, module.stride).mT
        across = deltas.flatten(2)
    weight = LayerGradients(layer.weight, formed=(across @ along).flatten(1))
    return [weight, *_of_bias(layer, across.sum(2))]


def _of_bias(layer: Layer, gradients: Tensor) -> list[LayerGradients]:
    return [] if layer.bias is None else [LayerGradients(layer.bias, formed=gradients)]


def _one_by_one(model: nn.Module, images: Tensor, labels: Tensor) -> Iterator[list[LayerGradients]]:
    parameters = list(model.parameters())
    for index in range(len(labels)):
        model.requires_grad_()
        loss = functional.cross_entropy(model(images[index : index + 1]), labels[index : index + 1])
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        model.requires_grad_(False)
        formed = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)]
        yield [LayerGradients(position, formed=gradient.reshape(1, -1)) for position, gradient in enumerate(formed)]
