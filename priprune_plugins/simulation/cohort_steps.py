"""The local steps of a cohort: what neighbouring rows do with batches of one size is one forward and backward pass."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from priprune_plugins.layout import Layout
from priprune_plugins.masks import apply_
from priprune_plugins.messages import Batch
from priprune_plugins.simulation.cohort_model import StackedModel
from priprune_plugins.simulation.cohort_rows import Rows
from priprune_plugins.simulation.visits import Underway


@dataclass(frozen=True, eq=False)
class Trainee:
    """One client of a cohort while it trains.

    Args:
        underway: Its visit.
        row: Its row of weights.
        offset: ``[D]`` what the algorithm adds to each step's gradient, or None.
        batches: What is left to train on.
        losses: Its loss at each step so far.
    """

    underway: Underway
    row: int
    offset: Tensor | None
    batches: Iterator[Batch]
    losses: list[Tensor] = field(default_factory=list)


Drawn = tuple[Trainee, Batch]


class CohortSteps:
    """SGD on rows of weights with the hooks of each row's client.

    Args:
        model: Gives the gradients.
        rows: The weights; moved in place.
        layout: Their layout.
        lr: Learning rate.
        proximal: Strength of the pull to the weights that training started from.
    """

    def __init__(self, model: StackedModel, rows: Rows, layout: Layout, lr: float, proximal: float) -> None:
        self._model = model
        self._rows = rows
        self._layout = layout
        self._lr = lr
        self._proximal = proximal

    def run(self, trainees: Sequence[Trainee]) -> None:
        """Train until no batch is left; ``trainees`` in the order of their rows, without gaps."""
        while any(drawn := [next(trainee.batches, None) for trainee in trainees]):
            # Padding would change batch norm's statistics, so that batches of different sizes go apart.
            for _, run in groupby(zip(trainees, drawn, strict=True), key=lambda one: _size(one[1])):
                together = [(trainee, batch) for trainee, batch in run if batch is not None]
                if together:
                    self._step(together)

    def _step(self, drawn: Sequence[Drawn]) -> None:
        part = slice(drawn[0][0].row, drawn[-1][0].row + 1)
        weights = self._rows.weights[part]
        buffers = {name: buffer[part] for name, buffer in self._rows.buffers.items()}
        images, labels = (torch.stack(of_all) for of_all in zip(*(batch for _, batch in drawn), strict=True))
        losses, gradients = self._model.gradients(weights, buffers, images, labels)
        trainees = [trainee for trainee, _ in drawn]
        steered = [self._steered(trainee, gradients, index) for index, trainee in enumerate(trainees)]
        self._descend(weights, gradients, steered)
        _prune_(weights, [trainee.underway.client.mask for trainee in trainees])
        for trainee, loss in zip(trainees, losses.unbind(), strict=True):
            trainee.losses.append(loss)
            trainee.underway.client.step_idx += 1

    def _steered(self, trainee: Trainee, gradients: Sequence[Tensor], index: int) -> Tensor | None:
        """Run a client's step hook; return ``[D]`` what its optimiser uses where that is not the plain gradient."""
        visit, client = trainee.underway.visit, trainee.underway.client
        pulled = trainee.offset is not None or (self._proximal > 0 and client.step_idx > 0)
        hooked = visit.host.implements("on_local_step")
        if not (pulled or hooked):
            return None
        layers = [gradient[index].reshape(-1) for gradient in gradients]
        made = [self._pulled(trainee, layers)] if pulled else []

        def grad() -> Tensor:
            if not made:
                made.append(torch.cat(layers))
            return made[0]

        if hooked:
            _show(trainee, layers, grad)
        return made[0] if made else None

    def _pulled(self, trainee: Trainee, layers: Sequence[Tensor]) -> Tensor:
        client, gradient = trainee.underway.client, torch.cat(list(layers))
        if self._proximal > 0:
            gradient.add_(client.vector - client.start, alpha=self._proximal)
        return gradient if trainee.offset is None else gradient.add_(trainee.offset)

    def _descend(self, weights: Tensor, gradients: Sequence[Tensor], steered: Sequence[Tensor | None]) -> None:
        plain = [index for index, vector in enumerate(steered) if vector is None]
        rows = [slice(None)] if len(plain) == len(steered) else [slice(index, index + 1) for index in plain]
        for layer, gradient in zip(self._layout.unflatten(weights).values(), gradients, strict=True):
            for row in rows:
                layer[row].add_(gradient[row], alpha=-self._lr)
        for row_weights, vector in zip(weights, steered, strict=True):
            if vector is not None:
                row_weights.add_(vector, alpha=-self._lr)


def _size(batch: Batch | None) -> torch.Size | None:
    return None if batch is None else batch[0].shape


def _show(trainee: Trainee, layers: Sequence[Tensor], grad: Callable[[], Tensor]) -> None:
    client = trainee.underway.client
    client.in_step(layers, grad)
    try:
        trainee.underway.visit.host.on_local_step(client)
    finally:
        client.in_step(None, None)


def _prune_(weights: Tensor, masks: Sequence[Tensor | None]) -> None:
    """Prune each row of ``weights [C, D]`` by its mask; at once where clients have the same."""
    if all(mask is masks[0] for mask in masks):
        apply_(weights, masks[0])
        return
    for row, mask in zip(weights, masks, strict=True):
        apply_(row, mask)
