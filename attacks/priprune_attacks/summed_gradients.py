"""Matching of sums: images of several participations at once, whose gradients at their own broadcasts add up.

What a server received is a list of numbers, each the sum of some batches' gradients at one coordinate. All batches are
searched together, each at the broadcast that its client really had.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from priprune_attacks.histories import History
from priprune_attacks.objectives import Products
from priprune_attacks.settling import Comparison
from priprune_attacks.shared_model import model_at


@dataclass(frozen=True, eq=False)
class Sums:
    """The numbers to be matched and what each is the sum of.

    Args:
        participations: The P positions in the history that are modelled.
        points: ``[P, D]`` their broadcasts.
        number_of: ``[P, D]`` int64, row of ``received`` that each gradient is added to, ``N`` where to none; None
            where all are added to the one row.
        received: ``[N, D]``, 0 where there is no number.
        compared: ``[N, D]`` bool, where there is one.
    """

    participations: tuple[int, ...]
    points: Tensor
    number_of: Tensor | None
    received: Tensor
    compared: Tensor

    def products(self, gradients: Tensor) -> Products:
        """Return inner products of what ``gradients [P, D]`` add up to with what was received; all is one layer."""
        model = self._summed(gradients) * self.compared
        pairs = ((model, self.received), (model, model), (self.received, self.received))
        return Products(*((left * right).sum().view(1, 1, 1) for left, right in pairs))

    def _summed(self, gradients: Tensor) -> Tensor:
        if self.number_of is None:
            return gradients.sum(0, keepdim=True)
        rows = self.received.new_zeros(len(self.received) + 1, self.received.shape[1])
        return rows.scatter_add(0, self.number_of, gradients)[:-1]


def known_sums(history: History, chosen: Tensor) -> Sums:
    """Return the numbers where ``chosen [K, D]`` is True, each the sum of the batches that it was recovered to hold."""
    chosen = chosen & history.sent & history.mask
    number_of = history.number_of
    padded = torch.cat([chosen, torch.zeros_like(chosen[:1])])
    used = padded.gather(0, number_of)
    parts = [k for k in range(len(history)) if k == history.attacked or bool(used[k].any())]
    rows = [k for k in range(len(history)) if bool(chosen[k].any())]
    row_of = torch.full((len(history) + 1,), len(rows), device=chosen.device)
    row_of[rows] = torch.arange(len(rows), device=chosen.device)
    of_part = torch.where(used, row_of[number_of], len(rows))[parts]
    return Sums(tuple(parts), history.points[parts], of_part, (history.told * chosen)[rows], chosen[rows])


def plain_sum(history: History, received: Tensor) -> Sums:
    """Return one number a coordinate, ``received [D]``, as the sum of all batches: times of release are not needed."""
    everything = tuple(range(len(history)))
    return Sums(everything, history.points, None, received.unsqueeze(0), history.mask.unsqueeze(0))


def comparison(history: History, sums: Sums) -> Comparison:
    """Return what compares images ``[1, R, P * B, C, H, W]`` and probabilities ``[1, R, P * B, K]`` with ``sums``."""
    gradients, parts = batch_gradients(history, sums), len(sums.participations)

    def products(images: Tensor, labels: Tensor) -> Products:
        dealt = [rows[0].reshape(rows.shape[1], parts, -1, *rows.shape[3:]) for rows in (images, labels)]
        found = [sums.products(gradients(*row)) for row in zip(*dealt, strict=True)]
        return Products(
            torch.cat([one.dot for one in found], 1),
            torch.cat([one.square for one in found], 1),
            found[0].target_square,
        )

    return products


def batch_gradients(history: History, sums: Sums) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a differentiable function from images and labels to each modelled participation's gradient ``[P, D]``.

    It takes images ``[P, B, C, H, W]`` and probabilities ``[P, B, K]``; all participations are one batched pass.
    """
    seen = history.observations[history.attacked]
    model = model_at(seen.facts, seen.broadcast, seen.broadcast_buffers)
    # In training mode it would write its running statistics, which no batched pass can.
    torch.func.replace_all_batch_norm_modules_(model)
    # By tensor: the gradient of slices of one flat vector would be as many whole vectors, mostly zeros.
    parts = seen.facts.layout.unflatten(sums.points)
    points = {name: part.contiguous() for name, part in parts.items()}
    per_point, kept = vmap(grad(_loss(model))), history.kept[list(sums.participations)]

    def gradients(images: Tensor, labels: Tensor) -> Tensor:
        found = per_point(points, images, labels)
        return torch.cat([found[name].flatten(1) for name in points], 1) * kept

    return gradients


def _loss(model: nn.Module) -> Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]:
    def loss(point: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, point, (images,)), labels)

    return loss
