"""What the fixed-rate defences share: when they withhold, by what schedule, and what pseudo-pruning adds."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from priprune_defenses.learned_rate import learn, played
from priprune_defenses.pseudo_pruning import compose_, keep
from priprune_defenses.schedule import Schedule, factor
from priprune_defenses.selection import Scope
from priprune_defenses.streams import substream
from priprune_plugins import Client, NonNegative, Run, ScenarioError, Share, Upload, hookimpl

_BANDIT_STREAM = 1  # the other draws of a participation are the defence's own stream


@dataclass(frozen=True, eq=False)
class FixedRate(ABC):
    """A defence that withholds a set fraction of what the base mask keeps, biases included.

    Args:
        scope: ``global``: one count over the whole model; ``layer``: the same rate in every parameter tensor.
        keep_local: Pseudo-pruning: the client keeps what it withholds and starts its next participation from it.
            False is real pruning: it starts from the broadcast.
        schedule: ``constant``; ``linear`` and ``cosine``: from the rate in the first round to ``last`` times it in the
            last; ``learned``: each client plays EXP3 over ``arms``, rewarded by its validation accuracy.
        last: What the rate is multiplied by in the last round.
        arms: Multiples of the rate that ``learned`` chooses among.
        worth: What withholding by the highest arm is worth to ``learned``, beside ``1 - worth`` times an accuracy of 1.

    Raises:
        ScenarioError: Some multiple leaves nothing to share, or ``learned`` has no arm or no validation images.
    """

    scope: Scope = "global"
    keep_local: bool = False
    schedule: Schedule = "constant"
    last: NonNegative = 0.5
    arms: tuple[NonNegative, ...] = (0.5, 1.0, 1.5)
    worth: Share = 0.2

    def __post_init__(self) -> None:
        if not self.arms or not max(self.arms) > 0:
            raise ScenarioError(f"arms must hold a multiple of the rate above 0, got {list(self.arms)}")
        multiples = {"linear": (1.0, self.last), "cosine": (1.0, self.last), "learned": self.arms}
        highest = max(multiples.get(self.schedule, (1.0,)))
        if self.whole_rate * highest >= 1:
            raise ScenarioError(
                f"schedule: {self.schedule} reaches {highest:g} times the rate {self.whole_rate:g}, which leaves "
                f"nothing to share; lower the rate, or {'arms' if self.schedule == 'learned' else 'last'}"
            )

    @property
    @abstractmethod
    def whole_rate(self) -> float:
        """The rate, all parts of it together, in [0, 1)."""

    @abstractmethod
    def withheld(self, client: Client, upload: Upload, times: float) -> Tensor | None:
        """Return ``[D]`` bool, True = withheld, at ``times`` the rate, or None where nothing can be ranked."""

    def check_scenario(self, scenario: Mapping[str, Any]) -> None:
        """Refuse to learn from nothing."""
        data: Mapping[str, Any] = scenario.get("data", {})
        if self.schedule == "learned" and not data.get("validation"):
            raise ScenarioError("schedule: learned is rewarded by validation accuracy: set data.validation above 0")

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Refuse the same where nobody has checked the scenario, under another framework for instance."""
        self.check_scenario(run.scenario)

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        """Compose the start weights of pseudo-pruning."""
        if self.keep_local:
            compose_(client.weights, client.state(self))

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload | None:
        """Withhold, and keep the withheld values where pseudo-pruning is on; a setup round trains nothing to keep."""
        learns = self.schedule == "learned" and client.round_idx >= 0
        arm = played(client.state(self), len(self.arms), self._stream(client)) if learns else None
        times = (
            factor(self.schedule, client.round_idx, client.facts.rounds, self.last) if arm is None else self.arms[arm]
        )
        withheld = self.withheld(client, upload, times)
        if withheld is None:
            return None
        if arm is not None:
            learn(client.state(self), arm, client, withheld, times / max(self.arms), self.worth)
        if self.keep_local and client.round_idx >= 0:
            keep(client.state(self), withheld, client.weights)
        return upload.withhold(withheld)

    @hookimpl
    def on_client_evaluate(self, client: Client) -> None:
        """Evaluate what this client would use: under pseudo-pruning its composed weights."""
        self.on_local_train_start(client)

    def _stream(self, client: Client) -> torch.Generator:
        return substream(client.generator(self), _BANDIT_STREAM)
