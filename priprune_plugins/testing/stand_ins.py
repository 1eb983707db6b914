"""The simplest pruner and defence there are, for plugins of the other kinds to be tried with."""

from dataclasses import dataclass

import torch

from priprune_plugins.hookspecs import hookimpl
from priprune_plugins.masks import keep_highest
from priprune_plugins.messages import Client, Server, Upload

RATE = 0.3


@dataclass(frozen=True, eq=False)
class OneMask:
    """A random mask of rate 0.3 for ever."""

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        """Set the mask in round 0."""
        if server.round_idx == 0:
            scores = torch.rand(server.layout.num_parameters, generator=server.generator(self))
            server.mask = keep_highest(scores, server.layout.prunable, RATE)


@dataclass(frozen=True, eq=False)
class Withhold:
    """Withhold a random 0.3 of all coordinates."""

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload:
        """Return the upload without them."""
        return upload.withhold(torch.rand(upload.weights.shape, generator=client.generator(self)) < RATE)
