"""Identification: which of many pictures was trained on?

Below the floors of reconstruction, where no picture comes out, only this still separates defences. The true images
are hidden at random places among public decoys; the measure is their rank by the attack's scores. Chance puts the
true image in the middle, and first in one of ``num_candidates`` uploads.
"""

from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from priprune_plugins.messages import LabelledSet


@dataclass(frozen=True, eq=False)
class Lineup:
    """What an attack has to choose from, and what only the evaluation knows of it.

    Args:
        candidates: All pictures with their labels.
        places: ``[B]`` int64, where the true images stand.
    """

    candidates: LabelledSet
    places: Tensor


@dataclass(frozen=True)
class Identified:
    """How well an attack told the true images of one upload from decoys.

    Args:
        ranks: Rank of each true image among itself and all decoys, 1 = first; other true images do not count.
        num_candidates: Decoys plus one: what a rank is out of.
        failed: None, or why the scores rank nothing; every rank is then that of chance.
    """

    ranks: tuple[float, ...]
    num_candidates: int
    failed: str | None

    @property
    def rank(self) -> float:
        """The median over the batch."""
        return median(self.ranks)


def lineup(truth: LabelledSet, pool: LabelledSet, count: int, generator: torch.Generator) -> Lineup:
    """Hide the true images among public decoys.

    Decoys are drawn without replacement and without regard to their class: a pool of one class would hide what the
    labels tell. A decoy equal to a true image is left out, or the truth would stand there twice.

    Args:
        truth: The ``B`` true images.
        pool: Public images, in no client's training part.
        count: Candidates a true image is ranked among, itself included; fewer where the pool is smaller.
        generator: CPU stream of the draw and of the places; no attack has it.
    """
    images = pool.images.to(truth.images)
    equal = torch.stack([(images == image).flatten(1).all(1) for image in truth.images]).any(0)
    left = torch.nonzero(~equal).squeeze(1)
    drawn = left[torch.randperm(left.numel(), generator=generator)[: max(0, count - 1)].to(left.device)]
    everybody = LabelledSet(
        torch.cat([truth.images, images[drawn]]), torch.cat([truth.labels, pool.labels[drawn].to(truth.labels)])
    )
    order = torch.randperm(len(everybody), generator=generator).to(truth.images.device)
    # Where each true image, position 0 to B - 1 before the shuffle, stands after it.
    places = order.argsort()[: len(truth)]
    return Lineup(LabelledSet(everybody.images[order], everybody.labels[order]), places)


def identified(scores: Tensor, places: Tensor) -> Identified:
    """Rank the true images by an attack's scores.

    Equal scores share the mean of their places, so that an attack that scores everything alike gets chance, and only
    a score above every decoy's is rank 1.

    Args:
        scores: ``[N]``, higher = more likely trained on.
        places: ``[B]`` where the true images stand.
    """
    scores = scores.detach().double().cpu()
    decoys = torch.ones(scores.numel(), dtype=torch.bool).index_fill(0, places.cpu(), False)
    count = int(decoys.count_nonzero()) + 1
    if bool(torch.isnan(scores).any()):
        return Identified((0.5 * (count + 1),) * places.numel(), count, "a score is NaN")
    own = scores[places.cpu()].unsqueeze(1)
    ahead, level = own < scores[decoys], own == scores[decoys]
    ranks = 1.0 + ahead.sum(1) + 0.5 * level.sum(1)
    return Identified(tuple(ranks.tolist()), count, None)
