"""Batch-norm statistics, which stock FedLab neither sends nor keeps apart between the clients it simulates."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from priprune_plugins.messages import LabelledSet
from priprune_plugins.simulation.evaluation import train_mode

Policy = Literal["average", "local", "server"]
Buffers = dict[str, Tensor]
_CHUNK = 256


def read_buffers(model: nn.Module) -> Buffers:
    """Return copies of the model's buffers by name."""
    return {name: buffer.detach().clone() for name, buffer in model.named_buffers()}


def load_buffers_(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy ``values`` into the model's buffers of the same names."""
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name in values:
                buffer.copy_(values[name])


def mean_buffers(received: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> Buffers:
    """Return the weighted mean of each buffer; counters are rounded to whole numbers."""
    return {name: _mean([buffers[name] for buffers in received], shares) for name in received[0]}


def _mean(values: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    mean = sum(value.double() * share for value, share in zip(values, shares, strict=True))
    assert isinstance(mean, Tensor)
    return mean.to(values[0].dtype) if values[0].is_floating_point() else mean.round().to(values[0].dtype)


class BufferKeeper:
    """Decides which statistics a client starts from and what becomes of those it ends with.

    ``average``: the server sends its own and takes the weighted mean of what comes back. ``local``: a client keeps its
    own from one of its rounds to the next and sends none. ``server``: every client starts from the server's and its
    changes are thrown away; where the scenario gives public data the server estimates them anew after each aggregation.

    Args:
        policy: One of the three.
        model: A model whose buffers are the starting values.
    """

    def __init__(self, policy: Policy, model: nn.Module) -> None:
        self.policy = policy
        self.server = read_buffers(model)
        self.clients: dict[int, Buffers] = {}
        self._before: dict[int, Buffers | None] = {}

    def start(self, client_id: int) -> Buffers:
        """Return what a client's training starts from."""
        return self.clients.get(client_id, self.server) if self.policy == "local" else self.server

    def finish(self, client_id: int, model: nn.Module, keep: bool) -> Buffers:
        """Take a client's final buffers; return what it uploads. ``keep`` is False for a probe."""
        if not self.server or self.policy == "server":
            return {}
        final = read_buffers(model)
        if self.policy == "average":
            return final
        if keep:
            self._before[client_id] = self.clients.get(client_id)
            self.clients[client_id] = final
        return {}

    def undo(self, client_id: int) -> None:
        """Take back the last :meth:`finish` of a client whose upload was dropped."""
        if self.policy != "local" or client_id not in self.clients:
            return
        before = self._before.pop(client_id)
        if before is None:
            del self.clients[client_id]
        else:
            self.clients[client_id] = before

    def aggregate(self, received: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> None:
        """Take the round's uploads into the server's buffers."""
        self._before.clear()
        if self.policy == "average" and received and received[0]:
            self.server = mean_buffers(received, shares)

    def reestimate(self, model: nn.Module, public: LabelledSet | None) -> None:
        """Estimate the server's buffers anew on public data, under the policy ``server`` only.

        Args:
            model: A model that holds the server's weights.
            public: The server's labelled public set, or None: the buffers then stay as they are.
        """
        if self.policy != "server" or public is None or not self.server:
            return
        norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        with train_mode(model), torch.no_grad():
            for norm in norms:
                norm.reset_running_stats()
                # None makes a running mean over everything that passes, instead of a moving one.
                norm.momentum = None
            for images in torch.split(public.images, _CHUNK):
                model(images)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        self.server = read_buffers(model)
