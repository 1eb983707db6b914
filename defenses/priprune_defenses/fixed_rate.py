"""What the fixed-rate defences share: when they withhold, and what pseudo-pruning adds."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from priprune_defenses.pseudo_pruning import compose_, keep
from priprune_defenses.selection import Scope
from priprune_plugins import Client, Upload, hookimpl


@dataclass(frozen=True, eq=False)
class FixedRate(ABC):
    """A defence that withholds a fixed fraction of what the base mask keeps, biases included.

    Args:
        scope: ``global``: one count over the whole model; ``layer``: the same rate in every parameter tensor.
        keep_local: Pseudo-pruning: the client keeps what it withholds and starts its next participation from it.
            False is real pruning: it starts from the broadcast.
    """

    scope: Scope = "global"
    keep_local: bool = False

    @abstractmethod
    def withheld(self, client: Client, upload: Upload) -> Tensor | None:
        """Return ``[D]`` bool, True = withheld, or None where nothing can be ranked."""

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        """Compose the start weights of pseudo-pruning."""
        if self.keep_local:
            compose_(client.weights, client.state(self))

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload | None:
        """Withhold, and keep the withheld values where pseudo-pruning is on; a setup round trains nothing to keep."""
        withheld = self.withheld(client, upload)
        if withheld is None:
            return None
        if self.keep_local and client.round_idx >= 0:
            keep(client.state(self), withheld, client.weights)
        return upload.withhold(withheld)

    @hookimpl
    def on_client_evaluate(self, client: Client) -> None:
        """Evaluate what this client would use: under pseudo-pruning its composed weights."""
        self.on_local_train_start(client)
