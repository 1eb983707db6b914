"""Gradients and Hessian products of the mean cross-entropy at given flat weights, leaving the model as it was."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from priprune_plugins import Layout

Batches = Sequence[tuple[Tensor, Tensor]]


def loss_gradient(
    model: nn.Module, layout: Layout, weights: Tensor, batches: Batches, batch_statistics: bool = True
) -> Tensor:
    """Return the gradient of the mean cross-entropy over all images of ``batches``, shape ``[D]``.

    Args:
        model: Gives the architecture and the buffers; weights, ``.grad``, buffers and mode stay as they are.
        layout: Layout of ``model``.
        weights: ``[D]`` where the gradient is taken.
        batches: ``(images [B, C, H, W], labels [B])`` each; each batch is one forward pass.
        batch_statistics: Normalise by the batch's statistics, as training does, and not by the running ones, which in
            an untrained net are mean 0 and variance 1. Dropout is off either way.
    """
    with scoring_mode(model, batch_statistics):
        leaves = _leaves(layout, weights)
        return _flat(_mean(batches, lambda share, images, labels: _gradient(model, leaves, images, labels, share)))


def hessian_gradient_product(
    model: nn.Module,
    layout: Layout,
    weights: Tensor,
    batches: Batches,
    along: Tensor,
    temperature: float = 1.0,
    batch_statistics: bool = True,
) -> Tensor:
    """Return ``H g`` of the mean cross-entropy of ``logits / temperature`` over all images, shape ``[D]``.

    Two passes: ``g`` over all batches, then ``d(g . grad_b)/dw`` batch by batch, so that one graph is held at a time.
    Other arguments as in :func:`loss_gradient`.

    Args:
        along: ``[D]`` bool: ``g`` counts as 0 elsewhere (the official codes leave biases out of it).
    """
    with scoring_mode(model, batch_statistics):
        leaves = _leaves(layout, weights)
        gradient = _mean(
            batches, lambda share, images, labels: _gradient(model, leaves, images, labels, share, temperature)
        )
        for part, counted in zip(gradient, layout.unflatten(along).values(), strict=True):
            part.mul_(counted)

        def product(share: float, images: Tensor, labels: Tensor) -> list[Tensor]:
            live = _gradient(model, leaves, images, labels, share, temperature, create_graph=True)
            dot = torch.stack([(fixed * part).sum() for fixed, part in zip(gradient, live, strict=True)]).sum()
            return list(torch.autograd.grad(dot, list(leaves.values()), materialize_grads=True))

        return _flat(_mean(batches, product))


def _gradient(
    model: nn.Module,
    leaves: dict[str, Tensor],
    images: Tensor,
    labels: Tensor,
    share: float,
    temperature: float = 1.0,
    create_graph: bool = False,
) -> list[Tensor]:
    state = {**leaves, **buffers_like(model, images)}
    loss = cross_entropy(functional_call(model, state, (images,)) / temperature, labels) * share
    inputs = list(leaves.values())
    return list(torch.autograd.grad(loss, inputs, create_graph=create_graph, materialize_grads=True))


def buffers_like(model: nn.Module, tensor: Tensor) -> dict[str, Tensor]:
    """Return copies of the model's buffers on ``tensor``'s device, floating ones in its dtype."""
    named = model.named_buffers()
    return {
        name: buffer.detach().to(tensor.device, tensor.dtype if buffer.is_floating_point() else None, copy=True)
        for name, buffer in named
    }


def _mean(batches: Batches, term: Callable[[float, Tensor, Tensor], list[Tensor]]) -> list[Tensor]:
    total = sum(labels.numel() for _, labels in batches)
    sums: list[Tensor] = []
    for images, labels in batches:
        parts = term(labels.numel() / total, images, labels)
        sums = [a.add_(b) for a, b in zip(sums, parts, strict=True)] if sums else [part.detach() for part in parts]
    return sums


def _leaves(layout: Layout, weights: Tensor) -> dict[str, Tensor]:
    # One leaf per layer: slicing one flat leaf would cost a [D] gradient for each layer.
    return {name: part.detach().requires_grad_() for name, part in layout.unflatten(weights.detach()).items()}


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


@contextmanager
def scoring_mode(model: nn.Module, batch_statistics: bool) -> Iterator[None]:
    """Dropout off, batch norm as asked, gradients on; every module's mode is restored."""
    modes = [(module, module.training) for module in model.modules()]
    for module in model.modules():
        module.training = batch_statistics and isinstance(module, _BatchNorm)
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
