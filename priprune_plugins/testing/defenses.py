"""What every defence must keep."""

from typing import Any

import torch
from torch import Tensor

from priprune_plugins.hookspecs import hookimpl
from priprune_plugins.messages import Client, Upload
from priprune_plugins.plugins import Registered
from priprune_plugins.testing.declaration import check_declaration
from priprune_plugins.testing.failures import require
from priprune_plugins.testing.tried import played_twice


class _Arriving:
    """Keeps the upload that reaches the defence."""

    def __init__(self) -> None:
        self.upload: Upload | None = None

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> None:
        self.upload = upload


class _Leaving:
    """Compares what leaves the defence with what reached it."""

    def __init__(self, name: str, arriving: _Arriving) -> None:
        self.name = name
        self.arriving = arriving

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> None:
        if self.arriving.upload is not None:
            check_upload(self.name, self.arriving.upload, upload, client.mask)


def check_defense(plugin: Any, rounds: int = 3) -> None:
    """Check a defence in a small real pruned federation, under FedAvg and under SCAFFOLD.

    Args:
        plugin: The instance under test.
        rounds: Rounds to play.

    Raises:
        AssertionError: What is wrong and what to do.
    """
    check_declaration("defenses", plugin)
    for algorithm in ("fedavg", "scaffold"):
        arriving = _Arriving()
        leaving = _Leaving(type(plugin).__name__, arriving)
        played_twice(
            "defenses",
            plugin,
            rounds,
            algorithm="scaffold" if algorithm == "scaffold" else "fedavg",
            before=Registered("trackers", "arriving", "trackers[2]:arriving", arriving),
            around=(Registered("trackers", "leaving", "trackers[3]:leaving", leaving),),
        )


def check_upload(name: str, before: Upload, after: Upload, mask: Tensor | None) -> None:
    """Check what a defence made of an upload.

    Args:
        name: How failures name the defence.
        before: What reached it.
        after: What left it.
        mask: ``[D]`` the client's base mask, or None.

    Raises:
        AssertionError: Another sender, a tensor missing or of another shape or dtype, a coordinate sent again that was
            withheld before, a pruned weight sent as nonzero, or a number that is not finite.
    """
    for key in ("client_ids", "round_idx", "num_samples"):
        given, kept = getattr(before, key), getattr(after, key)
        require(given == kept, f"{name} changes upload.{key} from {given} to {kept}: leave it")
    for group in ("extras", "buffers"):
        for key, tensor in getattr(before, group).items():
            sent = getattr(after, group).get(key)
            same = sent is not None and (sent.shape, sent.dtype) == (tensor.shape, tensor.dtype)
            require(same, f"{name} drops or reshapes upload.{group}[{key!r}]: keep {list(tensor.shape)} {tensor.dtype}")
    everything = torch.ones_like(after.weights, dtype=torch.bool)
    shared, reached = (everything if u.shared is None else u.shared for u in (after, before))
    require(not (shared & ~reached).any(), f"{name} sends what was withheld before it: use upload.withhold(...)")
    sent = after.weights[shared]
    require(torch.isfinite(sent).all(), f"{name} sends weights that are not finite")
    pruned = shared & ~(everything if mask is None else mask)
    require(not after.weights[pruned].any(), f"{name} sends nonzero weights where client.mask has pruned them")
