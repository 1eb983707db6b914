"""Largest: withhold the weights that this round's training changed most.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, Insight 1 and appendix "Defense Details".
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_defenses.fixed_rate import FixedRate
from priprune_defenses.selection import free_coordinates, withheld_lowest
from priprune_plugins import Client, Rate, Upload
from priprune_plugins.masks import part_size


def change_scores(client: Client, upload: Upload) -> Tensor | None:
    """Return ``-|start - end| [D]``: the lowest score is the largest change of the training just done.

    Measured from the composed start and not from the broadcast: the latter difference holds the client's stale values
    under pseudo-pruning. A change that is not a number counts as infinite and is withheld first.

    A setup round trains nothing; there the parameter-sized tensors that it sends are ranked by size, and None is
    returned where it sends none.
    """
    if client.round_idx >= 0:
        return negative_sizes(client.start, upload.weights)
    sent = [extra for extra in upload.extras.values() if extra.shape == upload.weights.shape]
    if not sent:
        return None
    total = torch.stack([extra.to(upload.weights.dtype).abs() for extra in sent]).sum(0)
    return negative_sizes(total, torch.zeros_like(total))


def negative_sizes(start: Tensor, end: Tensor) -> Tensor:
    """Return ``-|start - end| [D]``; what is not a number counts as the largest size, minus infinity."""
    scores, sums, size = torch.empty_like(start), [], part_size(start)
    for part, before, after in zip(*(torch.split(vector, size) for vector in (scores, start, end)), strict=True):
        torch.sub(before, after, out=part)
        sums.append(part.abs_().neg_().sum())
    if not torch.isfinite(torch.stack(sums)).all():
        scores.nan_to_num_(nan=-torch.inf, neginf=-torch.inf)
    return scores


@dataclass(frozen=True, eq=False)
class Largest(FixedRate):
    """Withhold the top fraction by ``|start - end|``, which after one step is ``lr * |gradient|``.

    Biases are withheld like weights: without them a Linear layer's input can be computed from its gradient.

    Args:
        rate: Fraction of the kept coordinates withheld, in [0, 1); the paper's .3.
    """

    rate: Rate = 0.3

    @property
    def whole_rate(self) -> float:
        """The rate."""
        return self.rate

    def withheld(self, client: Client, upload: Upload, times: float = 1.0) -> Tensor | None:
        """Return ``[D]`` bool: exactly ``round(times * rate * kept)`` coordinates, ties by position."""
        scores = change_scores(client, upload)
        if scores is None:
            return None
        return withheld_lowest(scores, client, free_coordinates(client, upload), times * self.rate, self.scope)
