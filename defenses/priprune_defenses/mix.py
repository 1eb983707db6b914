"""Mix: withhold the largest changes and, of what is left, a random part.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, Insight 1 and appendix "Defense Details" (.15 + .15; Figure 11 has other splits).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_defenses.fixed_rate import FixedRate
from priprune_defenses.largest import change_scores
from priprune_defenses.selection import free_coordinates, withheld_at_random, withheld_lowest
from priprune_plugins import Client, Rate, ScenarioError, Upload


@dataclass(frozen=True, eq=False)
class Mix(FixedRate):
    """Withhold ``largest`` by size of change, then ``random`` among the rest: the two parts never overlap.

    Args:
        largest: Fraction of the kept coordinates withheld by size, in [0, 1).
        random: Fraction of the kept coordinates withheld at random, in [0, 1).

    Raises:
        ScenarioError: The two fractions leave nothing to share.
    """

    largest: Rate = 0.15
    random: Rate = 0.15

    def __post_init__(self) -> None:
        if self.largest + self.random >= 1:
            raise ScenarioError(
                f"defense mix: largest + random must be below 1, got {self.largest} + {self.random}; lower one of them"
            )
        super().__post_init__()

    @property
    def whole_rate(self) -> float:
        """Both parts."""
        return self.largest + self.random

    def withheld(self, client: Client, upload: Upload, times: float = 1.0) -> Tensor:
        """Return ``[D]`` bool: ``round(times * part * kept)`` coordinates of each of the two parts."""
        free = free_coordinates(client, upload)
        scores = change_scores(client, upload)
        if scores is None:
            chosen = torch.zeros_like(upload.weights, dtype=torch.bool)
        else:
            chosen = withheld_lowest(scores, client, free, times * self.largest, self.scope)
        rest = ~chosen if free is None else free & ~chosen
        return chosen | withheld_at_random(client, rest, times * self.random, self.scope, client.generator(self))
