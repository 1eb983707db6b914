"""One-shot scores that need a labelled batch, which a federated server does not have: where it comes from."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from priprune_plugins import Client, Index, LabelledSet, Layout, Rate, ScenarioError, Server, Upload, hookimpl
from priprune_pruners.extras import gather, gathered
from priprune_pruners.gradients import Batches
from priprune_pruners.selection import select
from priprune_pruners.targets import Targets

_CHUNK = 256  # images of a public set in one forward pass


@dataclass(frozen=True, eq=False)
class LabelledScores(Targets):
    """A global mask at round 0 from scores on labelled images.

    What clients send for it is an upload that an attacker may use: a SNIP score is ``|w g|`` with a known ``w``.

    Args:
        rate: Fraction of the prunable weights removed, in [0, 1).
        source: ``public`` = the server's labelled set (``data.public``); ``client`` = scores that ``client_id`` sends
            in the setup round; ``clients`` = the mean of the scores of all clients of the setup round.
        client_id: The client of ``source: client``.
        batch_statistics: Score with the batch's own statistics in batch norm, not with the untrained running ones.
    """

    kind: ClassVar[str]
    criterion: ClassVar[str] = "gradient"
    cycle: ClassVar[str] = "one shot"
    sides: ClassVar[tuple[str, ...]] = ("server",)

    rate: Rate = 0.3
    source: Literal["public", "client", "clients"] = "public"
    client_id: Index = 0
    batch_statistics: bool = True

    @abstractmethod
    def scores(self, model: nn.Module, layout: Layout, weights: Tensor, batches: Batches) -> Tensor:
        """Return ``[D]`` scores, the highest kept."""

    @property
    def rule(self) -> str:
        """The selection rule's name."""
        return "exact"

    @property
    def setup_clients(self) -> tuple[int, ...] | None:
        """Clients that the setup round must have: none, one, or those that the host samples (None)."""
        return {"public": (), "client": (self.client_id,), "clients": None}[self.source]

    @property
    def collects(self) -> tuple[str, ...]:
        """The only extras that the server needs."""
        return (self._extra,)

    @property
    def _extra(self) -> str:
        return f"{self.kind}_scores"

    def check_scenario(self, scenario: Mapping[str, Any]) -> None:
        """Refuse to score on images that the server does not have."""
        if self.source == "public" and not scenario["data"]["public"]:
            raise self._without_public()

    @hookimpl
    def on_setup_round(self, client: Client) -> None:
        """Send this client's scores, where they are asked for."""
        if self.source == "clients" or (self.source == "client" and client.client_id == self.client_id):
            scores = self.scores(client.model, client.layout, client.weights, client.batches)
            client.send(self._extra, scores)

    @hookimpl
    def on_server_receive(self, server: Server, upload: Upload) -> None:
        """Add up the clients' scores."""
        gather(server.state(self), self._extra, upload)

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        """Set the mask: made at the first round, the same ever after."""
        state = server.state(self)
        if "mask" not in state:
            scores = self._public_scores(server) if self.source == "public" else self._client_scores(server)
            state["mask"] = select(scores, self.candidates(server.layout), self.rate, self.rule)
        server.mask = state["mask"]

    def _public_scores(self, server: Server) -> Tensor:
        if server.public is None:
            raise self._without_public()
        return self.scores(server.facts.build_model(), server.layout, server.weights, chunks(server.public))

    def _client_scores(self, server: Server) -> Tensor:
        scores = gathered(server.state(self), self._extra, server.layout)
        if scores is None:
            wanted = f"client {self.client_id}" if self.source == "client" else "any client"
            raise ScenarioError(
                f"pruner.source: {self.kind} with source '{self.source}' needs scores of {wanted} from the setup "
                "round, got none; check pruner.client_id against data.clients"
            )
        return scores

    def _without_public(self) -> ScenarioError:
        return ScenarioError(
            f"pruner.source: {self.kind} with source 'public' needs labelled images at the server, got none; "
            "give data.public: 100, or source: client or clients"
        )


def chunks(labelled: LabelledSet, size: int = _CHUNK) -> list[tuple[Tensor, Tensor]]:
    """Return the set as batches of ``size`` images, in order."""
    return list(zip(torch.split(labelled.images, size), torch.split(labelled.labels, size), strict=True))
