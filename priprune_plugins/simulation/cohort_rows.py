"""Weights and batch-norm statistics of many clients, one row each, with a model over every row."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from priprune_plugins.simulation.seat import Seat


class Rows:
    """Seats for a whole cohort; what they hold before a client is loaded means nothing.

    Args:
        model: What each client trains; its parameters are of one dtype, on one device.
        count: How many clients fit, ``C``.

    Attributes:
        weights: ``[C, D]``.
        buffers: The statistics by name, ``[C, *shape]`` each.
        seats: One per row; its model's parameters and buffers are views of the row.
    """

    def __init__(self, model: nn.Module, count: int) -> None:
        parameters = list(model.parameters())
        size = sum(parameter.numel() for parameter in parameters)
        self.weights = parameters[0].detach().new_empty(count, size)
        self.buffers = {name: _stacked(buffer, count) for name, buffer in model.named_buffers()}
        self.seats = tuple(Seat(self._over(model, row), self.weights[row]) for row in range(count))

    def __len__(self) -> int:
        return len(self.seats)

    def _over(self, model: nn.Module, row: int) -> nn.Module:
        """Return the same modules over one row; copying the parameters first would double the memory."""
        parameters = list(model.parameters())
        parts = torch.split(self.weights[row], [parameter.numel() for parameter in parameters])
        views: dict[int, object] = {
            id(parameter): nn.Parameter(part.view_as(parameter), requires_grad=parameter.requires_grad)
            for parameter, part in zip(parameters, parts, strict=True)
        }
        views |= {id(buffer): self.buffers[name][row] for name, buffer in model.named_buffers()}
        return deepcopy(model, views)


def _stacked(buffer: Tensor, count: int) -> Tensor:
    return buffer.detach().expand(count, *buffer.shape).clone()
