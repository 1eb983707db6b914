"""Watch what a plugin's hook must leave as it found it."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from priprune_plugins.hookspecs import hookimpl
from priprune_plugins.messages import Client, Server, Upload
from priprune_plugins.testing.failures import require


class Bystander:
    """Stands before or behind a plugin in every hook and calls ``look(hook, client)``."""

    def look(self, hook: str, client: Client | None) -> None:
        """Called in every hook."""
        raise NotImplementedError

    @hookimpl
    def on_setup_round(self, client: Client) -> None:
        self.look("on_setup_round", client)

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        self.look("on_round_start", None)

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        self.look("on_local_train_start", client)

    @hookimpl
    def on_local_step(self, client: Client) -> None:
        self.look("on_local_step", client)

    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        self.look("on_local_train_end", client)

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> None:
        self.look("before_upload", client)

    @hookimpl
    def on_server_receive(self, server: Server, upload: Upload) -> None:
        self.look("on_server_receive", None)

    @hookimpl
    def on_aggregate_end(self, server: Server) -> None:
        self.look("on_aggregate_end", None)

    @hookimpl
    def on_client_evaluate(self, client: Client) -> None:
        self.look("on_client_evaluate", client)


class Before(Bystander):
    """Remembers how things stood before the plugin's hook."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def look(self, hook: str, client: Client | None) -> None:
        """Remember."""
        self.found = dict(surroundings(None if hook == "on_local_step" else client))


class After(Bystander):
    """Compares with what stood before.

    Args:
        name: How failures name the plugin.
        before: What stands before the plugin.
    """

    def __init__(self, name: str, before: Before) -> None:
        self.name = name
        self.before = before
        self.masks: list[torch.Tensor] = []

    def look(self, hook: str, client: Client | None) -> None:
        """Compare, and keep the client's mask.

        Raises:
            AssertionError: Something is not as it was.
        """
        now = dict(surroundings(None if hook == "on_local_step" else client))
        for what, value in self.before.found.items():
            require(_same(value, now[what]), f"{self.name} changed {what} in {hook}: leave it as found")
        if client is not None and client.mask is not None:
            self.masks.append(client.mask.clone())


def surroundings(client: Client | None) -> Iterator[tuple[str, Any]]:
    """Yield, by name, what no plugin may change.

    In ``on_local_step`` the gradients are the plugin's to edit: give None there.
    """
    yield "torch's global generator (use client.generator or server.generator)", torch.get_rng_state()
    yield "Python's global generator (use client.generator or server.generator)", random.getstate()
    yield "numpy's global generator (use client.generator or server.generator)", _numpy_state()
    yield "whether gradients are recorded", torch.is_grad_enabled()
    if client is not None:
        yield "train or eval mode of the model", [module.training for module in client.model.modules()]
        yield "the parameters' .grad", _grads(client.model)


def _numpy_state() -> bytes:
    state: Any = np.random.get_state()
    return bytes(state[1].tobytes())


def _grads(model: torch.nn.Module) -> torch.Tensor:
    grads = [parameter.grad for parameter in model.parameters()]
    # One that is missing shows as a lone NaN, which compares equal to itself below.
    return torch.cat([torch.full((1,), torch.nan) if grad is None else grad.detach().flatten() for grad in grads])


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return left.shape == right.shape and bool(torch.allclose(left, right, rtol=0, atol=0, equal_nan=True))
    return bool(left == right)
