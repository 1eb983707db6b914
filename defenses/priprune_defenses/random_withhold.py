"""Random withholding: a secret uniform choice, independent of the data.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, Insight 1 and appendix "Defense Details" (there "Random").
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_defenses.fixed_rate import FixedRate
from priprune_defenses.selection import free_coordinates, withheld_lowest
from priprune_plugins import Client, Rate, Upload


def uniform_scores(client: Client, plugin: object) -> Tensor:
    """Return ``[D]`` uniform numbers in [0, 1) from ``plugin``'s own stream for this client and round."""
    draws = torch.rand(client.layout.num_parameters, generator=client.generator(plugin))
    return draws.to(client.weights.device)


@dataclass(frozen=True, eq=False)
class RandomWithhold(FixedRate):
    """Withhold a uniformly drawn fraction, a new choice in each round.

    Args:
        rate: Fraction of the kept coordinates withheld, in [0, 1); the paper's .3.
    """

    rate: Rate = 0.3

    def withheld(self, client: Client, upload: Upload) -> Tensor:
        """Return ``[D]`` bool: exactly ``round(rate * kept)`` coordinates."""
        free = free_coordinates(client, upload)
        return withheld_lowest(uniform_scores(client, self), client, free, self.rate, self.scope)
