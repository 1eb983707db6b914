"""What every pruner must keep."""

from typing import Any

import torch
from torch import Tensor

from priprune_plugins.layout import Layout
from priprune_plugins.masks import num_pruned
from priprune_plugins.testing.declaration import check_declaration
from priprune_plugins.testing.failures import require
from priprune_plugins.testing.tried import played_twice


def check_pruner(plugin: Any, promises_rate: bool = False, prunable_only: bool = True, rounds: int = 3) -> None:
    """Check a pruner in a small real federation.

    Args:
        plugin: The instance under test.
        promises_rate: Its mask removes exactly ``round(plugin.rate * N)`` of the N prunable weights after ``rounds``.
        prunable_only: It never removes a bias or a norm.
        rounds: Rounds to play.

    Raises:
        AssertionError: What is wrong and what to do.
    """
    name = type(plugin).__name__
    check_declaration("pruners", plugin)
    played, watcher = played_twice("pruners", plugin, rounds)
    layout = played.server.layout
    if prunable_only:
        for mask in (*played.masks, *watcher.masks):
            _check_prunable(name, mask, layout)
    if promises_rate:
        masks = played.masks or watcher.masks
        require(masks, f"{name} set no mask in {rounds} rounds: assign server.mask or client.mask")
        _check_rate(name, masks[-1], layout, plugin.rate)


def _check_prunable(name: str, mask: Tensor, layout: Layout) -> None:
    for layer, part, prunable in zip(layout.names, layout.layers(mask), layout.prunable_layers, strict=True):
        removed = part.numel() - int(torch.count_nonzero(part))
        require(prunable or removed == 0, f"{name} removes {removed} of {layer}: choose among layout.prunable only")


def _check_rate(name: str, mask: Tensor, layout: Layout, rate: float) -> None:
    prunable = int(layout.prunable.sum())
    expected = num_pruned(rate, prunable)
    removed = int((layout.prunable & ~mask).sum())
    require(
        removed == expected,
        f"{name} removes {removed} of {prunable} prunable weights, rate {rate} asks for {expected}: use keep_highest",
    )
