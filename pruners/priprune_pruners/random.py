"""Random: the mask that knows nothing of the weights, the floor under every other pruner."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from priprune_plugins import Count, Layout, Rate, ScenarioError, Server, Share, hookimpl
from priprune_pruners.schedules import event_rate
from priprune_pruners.selection import select
from priprune_pruners.targets import Targets


def random_scores(layout: Layout, generator: torch.Generator) -> Tensor:
    """Return ``[D]`` independent uniform scores in [0, 1) on the layout's device, drawn on the generator's."""
    drawn = torch.rand(layout.num_parameters, generator=generator, device=generator.device)
    return drawn.to(layout.device)


@dataclass(frozen=True, eq=False)
class Random(Targets):
    """Uniform scores, at the server; one mask for ever, a growing one, or a new one each round.

    Measured on digits (60 clients, Dirichlet 1, 10 a round, one step, lr 0.1, ``small14``, 70 rounds, one seed):
    accuracy .907 at rate 0.3, .757 with ``resample``, where the server keeps dense weights; at 0.9 it stays at chance.

    Departure: the table of the PriPrune paper calls its random pruner magnitude-based, iterative, at server and
    clients. A random criterion is none of magnitude; this one follows its name, at the server.

    Args:
        rate: Fraction of the prunable weights removed, in [0, 1).
        iterative: None = all at round 0; otherwise this share of the survivors goes every ``every`` rounds, the
            first at round ``every``, until the rate is reached.
        every: Rounds between the events of ``iterative``.
        resample: A new mask each round; weights that come back have their last server value.
    """

    criterion: ClassVar[str] = "random"
    cycle: ClassVar[str] = "one shot, iterative by option"
    sides: ClassVar[tuple[str, ...]] = ("server",)

    rate: Rate = 0.3
    iterative: Share | None = None
    every: Count = 10
    resample: bool = False

    def __post_init__(self) -> None:
        if self.resample and self.iterative is not None:
            raise ScenarioError("pruner random: iterative and resample exclude each other; remove one")

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        """Set the round's mask."""
        candidates = self.candidates(server.layout)
        if self.resample:
            server.mask = self._masked(server, candidates, self.rate)
            return
        state = server.state(self)
        if "mask" not in state:
            state["mask"] = torch.ones_like(candidates)
            if self.iterative is None:
                state["mask"] = self._masked(server, candidates, self.rate)
        elif self.iterative is not None and server.round_idx % self.every == 0:
            state["mask"] = self._thinned(server, candidates, state["mask"], self.iterative)
        server.mask = state["mask"]

    def _thinned(self, server: Server, candidates: Tensor, mask: Tensor, fraction: float) -> Tensor:
        survivors = candidates & mask
        share = event_rate(int(survivors.sum()), int(candidates.sum()), self.rate, fraction)
        return mask & self._masked(server, survivors, share)

    def _masked(self, server: Server, candidates: Tensor, rate: float) -> Tensor:
        return select(random_scores(server.layout, server.generator(self)), candidates, rate)
