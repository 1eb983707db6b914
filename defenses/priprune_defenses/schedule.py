"""How a fixed-rate defence's rate changes over a run: by a rule in the round, or learned by each client."""

import math
from typing import Literal

from priprune_plugins import ScenarioError

Schedule = Literal["constant", "linear", "cosine", "learned"]


def factor(schedule: Schedule, round_idx: int, rounds: int | None, last: float) -> float:
    """Return what the rate is multiplied by in a round: 1 in the first, ``last`` in the last.

    Args:
        schedule: ``linear`` or ``cosine``; else it is 1 in every round.
        round_idx: From 0; a setup round, -1, counts as the first.
        rounds: Rounds of the run.
        last: The factor of the last round.

    Raises:
        ScenarioError: The number of rounds is not known.
    """
    if schedule not in ("linear", "cosine"):
        return 1.0
    if rounds is None:
        raise ScenarioError(f"schedule: {schedule} needs the number of rounds, which this run does not tell")
    share = max(round_idx, 0) / max(rounds - 1, 1)
    if schedule == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    return 1 + (last - 1) * share
