"""A model whose parameters are views into one flat vector: loading or reading the weights is one copy."""

import torch
from torch import Tensor, nn


def flatten_(model: nn.Module) -> Tensor:
    """Move the parameters of ``model`` into one vector, in place, and return that vector.

    Args:
        model: A model on one device with parameters of one dtype; moving it afterwards would break the views.

    Returns:
        ``[D]``, in the order of ``model.parameters()``; writing to it changes the model.
    """
    parameters = list(model.parameters())
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    point_at_(parameters, flat, gradients=False)
    return flat


def point_at_(parameters: list[nn.Parameter], flat: Tensor, gradients: bool) -> None:
    """Make each parameter's data (or its gradient) a view of its part of ``flat [D]``."""
    start = 0
    for parameter in parameters:
        view = flat[start : start + parameter.numel()].view_as(parameter)
        if gradients:
            parameter.grad = view
        else:
            parameter.data = view
        start += parameter.numel()


def gathered_gradients(parameters: list[nn.Parameter]) -> Tensor:
    """Return all gradients as one new vector ``[D]``; a parameter without a gradient counts as zero."""
    return torch.cat(layer_gradients(parameters))


def layer_gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    """Return each parameter's gradient as a vector ``[size]``, a view where it is contiguous; absent ones are zero."""
    return [_gradient(parameter).reshape(-1) for parameter in parameters]


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter).detach() if parameter.grad is None else parameter.grad.detach()
