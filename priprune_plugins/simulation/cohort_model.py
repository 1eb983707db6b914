"""Losses and gradients of many clients' models in one forward and one backward pass."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from priprune_plugins.layout import Layout


class StackedModel:
    """One architecture with a row of weights for each client: grouped convolutions and batched products.

    A row meets its own images and its own statistics only; rounding apart it gives what the model gives by itself.

    Args:
        model: The architecture; its own weights are not used. Its mode counts: train mode moves the statistics.
        layout: Its layout.
    """

    def __init__(self, model: nn.Module, layout: Layout) -> None:
        self._model = model
        self._layout = layout
        self._trained = [parameter.requires_grad for parameter in model.parameters()]
        # A model that draws random numbers must not go unnoticed: its clients would have no streams of their own.
        self._forward = vmap(self._one, randomness="error")

    def _one(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        with _WeightFirst():
            logits: Tensor = functional_call(self._model, (weights, buffers), (images,))
        return logits

    def gradients(
        self, weights: Tensor, buffers: dict[str, Tensor], images: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Return each client's mean cross-entropy ``[C]`` and its gradients by layer, ``[C, *shape]`` each.

        Args:
            weights: ``[C, D]``.
            buffers: Statistics by name, ``[C, *shape]`` each; moved in place in train mode.
            images: ``[C, B, C', H, W]``, ``C'`` channels.
            labels: ``[C, B]``.

        Raises:
            RuntimeError: The model draws random numbers, or does what cannot be stacked.
        """
        layers = zip(self._layout.unflatten(weights).items(), self._trained, strict=True)
        leaves = {name: view.detach().requires_grad_(trained) for (name, view), trained in layers}
        logits = self._forward(leaves, buffers, images)
        losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        losses = losses.view_as(labels).mean(1)
        return losses.detach(), self._derivatives(losses.sum(), list(leaves.values()))

    def _derivatives(self, loss: Tensor, leaves: list[Tensor]) -> list[Tensor]:
        # Each row's loss depends on its own row of weights only: one backward pass gives all of them.
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        found = iter(torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True))
        return [next(found) if leaf.requires_grad else torch.zeros_like(leaf) for leaf in leaves]


class _WeightFirst(TorchFunctionMode):
    """Computes linear layers as ``(W x^T)^T``, so that the gradient of ``W`` comes in the order of ``W``.

    Of ``x W^T`` it would come transposed, and to add it to the weights took twice as long as forward and backward.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is functional.linear and len(args) == 3 and not given and args[0].dim() == 2:
            inputs, weight, bias = args
            product = (weight @ inputs.mT).mT
            return product if bias is None else product + bias
        return func(*args, **given)
