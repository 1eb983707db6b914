"""What happens around every optimiser step of a client: the step's hook before it, the mask after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from priprune_plugins.masks import apply_
from priprune_plugins.messages import Client
from priprune_plugins.simulation.flat_model import gathered_gradients, layer_gradients, point_at_

PlainGradient = Callable[[Tensor, Client], Tensor]


class Steps:
    """Hooks around the steps of one client.

    Torch's process-wide optimiser hooks reach every trainer, also one that builds an optimiser inside ``train``; they
    are filtered by the model's own parameters, so that no other optimiser in the process is touched.

    Args:
        client: The client that trains.
        parameters: Parameters of the local model.
        on_step: Called before each step with the gradients open, or None where no plugin wants it.
        plain: Turns the optimiser's gradient into that of the plain loss, in place; None where they are the same.
    """

    def __init__(
        self,
        client: Client,
        parameters: list[nn.Parameter],
        on_step: Callable[[Client], None] | None,
        plain: PlainGradient | None,
    ) -> None:
        self._client = client
        self._parameters = parameters
        self._on_step = on_step
        self._plain = plain
        self._recorded: Tensor | None = None

    @property
    def mask(self) -> Tensor | None:
        """The client's base mask ``[D]``, True = kept, or None."""
        return self._client.mask

    @contextmanager
    def active(self) -> Iterator[None]:
        """Install the hooks for the duration of the client's training."""
        handles = [
            register_optimizer_step_pre_hook(self._before),
            register_optimizer_step_post_hook(self._after),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def record(self, gradient: Tensor) -> None:
        """Keep a gradient of the plain loss that the algorithm itself has read, before it changes it."""
        if self._on_step is not None:
            self._recorded = gradient.clone()

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._on_step is None or not self._owns(optimizer):
            return
        self._client.in_step(self._loss_gradient(), self._editable())
        try:
            self._on_step(self._client)
        finally:
            self._client.in_step(None, None)

    def _loss_gradient(self) -> Tensor | list[Tensor]:
        recorded, self._recorded = self._recorded, None
        if recorded is not None:
            return recorded
        if self._plain is None:
            return layer_gradients(self._parameters)
        return self._plain(gathered_gradients(self._parameters), self._client)

    def _editable(self) -> Callable[[], Tensor]:
        # The vector is made at the first read: a plugin that only reads loss_grad costs no second copy.
        made: list[Tensor] = []

        def grad() -> Tensor:
            if not made:
                made.append(gathered_gradients(self._parameters))
                point_at_(self._parameters, made[0], gradients=True)
            return made[0]

        return grad

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self._owns(optimizer):
            return
        self._client.step_idx += 1
        with torch.no_grad():
            apply_(self._client.vector, self._client.mask)

    def _owns(self, optimizer: Optimizer) -> bool:
        return any(group["params"][0] is self._parameters[0] for group in optimizer.param_groups)
