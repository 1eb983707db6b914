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
from priprune_attacks.shared_model import model_at
from priprune_plugins import Facts, Layout


@dataclass(frozen=True, eq=False)
class Sums:
    """The numbers to be matched and what each is the sum of.

    Args:
        participations: The P positions in the history that are modelled.
        points: ``[P, D]`` their broadcasts.
        number_of: ``[P, D]`` int64, row of ``received`` that each gradient is added to; ``N`` where to none.
        received: ``[N, D]``, 0 where there is no number.
        compared: ``[N, D]`` bool, where there is one.
    """

    participations: tuple[int, ...]
    points: Tensor
    number_of: Tensor
    received: Tensor
    compared: Tensor

    def mismatch(self, gradients: Tensor) -> Tensor:
        """Return one minus the cosine of what ``gradients [P, D]`` add up to with what was received."""
        rows = self.received.new_zeros(len(self.received) + 1, self.received.shape[1])
        model = rows.scatter_add(0, self.number_of, gradients)[:-1] * self.compared
        tiny = torch.finfo(model.dtype).tiny
        norms = torch.linalg.vector_norm(model) * torch.linalg.vector_norm(self.received)
        mismatch: Tensor = 1.0 - (model * self.received).sum() / norms.clamp_min(tiny)
        return mismatch


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
    number_of = torch.zeros_like(history.told, dtype=torch.int64)
    return Sums(everything, history.points, number_of, received.unsqueeze(0), history.mask.unsqueeze(0))


def batch_gradients(history: History, sums: Sums) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a differentiable function from images and labels to each modelled participation's gradient ``[P, D]``.

    It takes images ``[P, B, C, H, W]`` and probabilities ``[P, B, K]``; all participations are one batched pass.
    """
    seen = history.observations[history.attacked]
    model = model_at(seen.facts, seen.broadcast, seen.broadcast_buffers)
    # In training mode it would write its running statistics, which no batched pass can.
    torch.func.replace_all_batch_norm_modules_(model)
    per_point, kept = vmap(grad(_loss(model, seen.facts))), history.kept[list(sums.participations)]
    return lambda images, labels: per_point(sums.points, images, labels) * kept


def _loss(model: nn.Module, facts: Facts) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    layout: Layout = facts.layout

    def loss(point: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        logits = functional_call(model, layout.unflatten(point), (images,))
        return functional.cross_entropy(logits, labels)

    return loss
