"""The server of asynchronous federated optimisation: it mixes each upload in by itself, the less the older it is.

Reference: Xie, Koyejo, Gupta, "Asynchronous Federated Optimization", 2019, arXiv:1903.03934, Algorithm 1 and section 5.
"""

from typing import Literal

import torch
from torch import Tensor

from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.generators import generator

with fedlab_imports():
    from fedlab.contrib.algorithm.basic_server import SyncServerHandler

Fading = Literal["constant", "hinge", "polynomial"]


def faded(fading: Fading, staleness: int, a: float, b: int) -> float:
    """Return ``s(staleness)``, by which the weight of an upload is multiplied; 1 for a fresh one.

    Args:
        fading: Which of the paper's functions.
        staleness: Uploads mixed in since the client was sent its weights.
        a: How fast the weight falls.
        b: Staleness up to which ``hinge`` is 1.
    """
    if fading == "constant":
        return 1.0
    if fading == "polynomial":
        return float((staleness + 1) ** -a)
    return 1.0 if staleness <= b else 1 / (a * (staleness - b) + 1)


class FedAsyncHandler(SyncServerHandler):  # type: ignore[misc]
    """Keeps the weights of the last rounds, for clients that were sent them late, and mixes uploads in one by one.

    Attributes:
        updates: Uploads mixed in so far: the number of the version that the handler's weights ``[D]`` are.
        began: That number when the round began.
        rounds: Rounds that brought an upload.
        older: ``[max_delay, D]`` dense weights at the beginning of the rounds before, the latest first.
        older_updates: ``[max_delay]`` int64, their versions.
        left: ``[D]`` the weights as the last round left them; while uploads are mixed in, as the round began.
        arriving: The client whose upload is mixed in next.
    """

    older: Tensor
    older_updates: Tensor
    left: Tensor

    def setup_optim(self, alpha: float, fading: Fading, a: float, b: int, max_delay: int, seed: int) -> None:
        """Take the options of :class:`~priprune_plugins.simulation.algorithms.fedasync.FedAsync`, ``a`` resolved."""
        self.alpha, self.fading, self.a, self.b = alpha, fading, a, b
        self.max_delay, self.seed = max_delay, seed
        self.updates = self.began = self.rounds = self.arriving = 0
        self.left = self.model_parameters
        self.older = self.left.new_empty(0, self.left.numel())
        self.older_updates = torch.zeros(max_delay, dtype=torch.int64)

    @property
    def downlink_package(self) -> list[Tensor]:
        """The weights ``[D]`` now and at the beginning of earlier rounds, and which of them each client gets."""
        now = self.model_parameters
        return [now, *self._past(now), self._delays().unsqueeze(0)]

    def _past(self, now: Tensor) -> Tensor:
        # Before round 0 the weights were what they are then, after a setup round that may have changed them.
        if not self.rounds:
            return now.expand(self.max_delay, -1)
        changed = now != self.left
        if bool(changed.any()):
            zeroed = not bool(now[changed].any())
            self.older = self.older.masked_fill(changed, 0.0) if zeroed else now.repeat(self.max_delay, 1)
            self.left = now
        return self.older

    def _delays(self) -> Tensor:
        """Return ``[num_clients]`` int64: how many rounds old the weights are that a client is sent."""
        stream = generator(self.seed, "fedasync", self.rounds)
        return torch.randint(self.max_delay + 1, (self.num_clients,), generator=stream)

    def sent_to(self, client_id: int) -> Tensor:
        """Return the dense weights ``[D]`` of the version that a client of this round was sent."""
        delay = int(self._delays()[client_id])
        now = self.model_parameters
        return self._past(now)[delay - 1] if delay else now

    def staleness(self, client_id: int) -> int:
        """Return how many uploads have been mixed in since a client of this round was sent its weights."""
        delay = int(self._delays()[client_id])
        return self.updates - (int(self.older_updates[delay - 1]) if delay else self.began)

    def begin_round(self) -> None:
        """Note the weights and their version before the first upload of a round is mixed in."""
        self.began, self.left = self.updates, self.model_parameters

    def load(self, pack: list[Tensor]) -> None:
        """Mix one upload in: ``w + alpha * s(staleness) * (w_k - w)``."""
        share = self.alpha * faded(self.fading, self.staleness(self.arriving), self.a, self.b)
        self.set_model(torch.lerp(self.model_parameters, pack[0], share))
        self.updates += 1

    def end_round(self) -> None:
        """Keep what the round began with, for clients that get it late."""
        began, self.left = self.left, self.model_parameters
        past = self.older if self.rounds else began.expand(self.max_delay, -1)
        self.rounds += 1
        if self.max_delay:
            self.older = torch.cat([began.unsqueeze(0), past[:-1]])
            self.older_updates = torch.cat([torch.tensor([self.began]), self.older_updates[:-1]])
