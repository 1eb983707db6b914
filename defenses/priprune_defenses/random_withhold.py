"""Random withholding: a secret uniform choice, independent of the data.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, Insight 1 and appendix "Defense Details" (there "Random").
"""

from dataclasses import dataclass

from torch import Tensor

from priprune_defenses.fixed_rate import FixedRate
from priprune_defenses.selection import free_coordinates, withheld_at_random
from priprune_plugins import Client, Rate, Upload


@dataclass(frozen=True, eq=False)
class RandomWithhold(FixedRate):
    """Withhold a uniformly drawn fraction, a new choice in each round.

    Args:
        rate: Fraction of the kept coordinates withheld, in [0, 1); the paper's .3.
    """

    rate: Rate = 0.3

    @property
    def whole_rate(self) -> float:
        """The rate."""
        return self.rate

    def withheld(self, client: Client, upload: Upload, times: float = 1.0) -> Tensor:
        """Return ``[D]`` bool: exactly ``round(times * rate * kept)`` coordinates."""
        free = free_coordinates(client, upload)
        return withheld_at_random(client, free, times * self.rate, self.scope, client.generator(self))
