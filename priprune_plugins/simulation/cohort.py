"""A round's clients as one batch over stacked weights: few large kernels instead of many small ones."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from priprune_plugins.messages import Batch
from priprune_plugins.simulation.client_round import ClientRunner
from priprune_plugins.simulation.cohort_model import StackedModel
from priprune_plugins.simulation.cohort_rows import Rows
from priprune_plugins.simulation.cohort_steps import CohortSteps, Trainee
from priprune_plugins.simulation.local_rule import LocalRule
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.visits import Underway, Uploaded, Visit


class CohortCrew:
    """Trains the clients of a round together, by the algorithm's own rule; everything but the steps is the runner's.

    Uploads equal those of the runner alone to rounding. Hooks are called for each client on its row, and those of one
    round take turns: all ``on_local_train_start``, then step by step all ``on_local_step``, then for each client
    ``on_local_train_end`` and ``before_upload``. On a GPU the host waits for the device once a cohort, where the
    figures of all uploads are read; what a plugin reads is its own affair.

    Args:
        runner: Starts visits and makes uploads of them.
        rule: What the algorithm's trainer computes in its steps.
        size: Most clients at once: memory grows with it; None = all of a round. Changes nothing but rounding.
    """

    def __init__(self, runner: ClientRunner, rule: LocalRule, size: int | None) -> None:
        self._runner = runner
        self._rule = rule
        self._size = size
        self._rows: Rows | None = None

    def run(self, visits: Sequence[Visit]) -> Iterator[Sent | None]:
        """Yield what each visit leaves, in the order given."""
        size = self._size or max(len(visits), 1)
        for start in range(0, len(visits), size):
            yield from self._together(visits[start : start + size])

    def _together(self, visits: Sequence[Visit]) -> Iterator[Sent]:
        with ExitStack() as remembered:
            for visit in visits:
                remembered.enter_context(self._runner.remembering(visit.client_id))
            sent = self._sent(*self.uploaded(visits))
        for visit, one in zip(visits, sent, strict=True):
            self._runner.states.clients.settle(visit.client_id)
            yield one

    def uploaded(self, visits: Sequence[Visit]) -> tuple[list[Uploaded], Tensor]:
        """Return the uploads and the mean losses ``[C]`` of clients that train together; waits for no device."""
        trainees = self._trained(visits)
        losses = torch.stack([torch.stack(trainee.losses).mean() for trainee in trainees])
        return [self._upload(trainee) for trainee in trainees], losses

    def _trained(self, visits: Sequence[Visit]) -> list[Trainee]:
        rows, runner = self._rows_for(len(visits)), self._runner
        trainees = [self._trainee(visit, rows, row) for visit, row in zip(visits, self._places(visits), strict=True)]
        runner.trainer.model.train()
        layout = runner.facts.layout
        steps = CohortSteps(
            StackedModel(runner.trainer.model, layout), rows, layout, runner.training.lr, self._rule.proximal
        )
        steps.run(sorted(trainees, key=lambda trainee: trainee.row))
        return trainees

    def _places(self, visits: Sequence[Visit]) -> list[int]:
        """Return a row for each visit: those with the most images first, so that full batches are neighbours."""
        images = [(visit.batch_size, self._runner.data.num_samples(visit.client_id)) for visit in visits]
        order = sorted(range(len(visits)), key=lambda index: images[index], reverse=True)
        return [order.index(index) for index in range(len(visits))]

    def _rows_for(self, count: int) -> Rows:
        if self._rows is None or len(self._rows) < count:
            # Let go first: two sets of rows would be twice the memory.
            self._rows = None
            self._rows = Rows(self._runner.trainer.model, count)
        return self._rows

    def _trainee(self, visit: Visit, rows: Rows, row: int) -> Trainee:
        rows.seats[row].model.train()
        underway = self._runner.start(visit, rows.seats[row])
        offset = self._rule.offset(self._runner.trainer, underway.visit.payload, visit.client_id)
        return Trainee(underway, row, offset, _drawn(underway, self._runner.epochs(visit)))

    def _upload(self, trainee: Trainee) -> Uploaded:
        runner, underway = self._runner, trainee.underway
        pack = self._rule.pack(runner.trainer, underway.visit.payload, underway.client, runner.training.lr)
        return runner.finish(underway, pack)

    def _sent(self, uploaded: Sequence[Uploaded], losses: Tensor) -> list[Sent]:
        figures = torch.cat([torch.stack([one.figures for one in uploaded]), losses.double().unsqueeze(1)], 1).tolist()
        return [self._runner.sent(one, row[:-1], row[-1]) for one, row in zip(uploaded, figures, strict=True)]


def _drawn(underway: Underway, epochs: int) -> Iterator[Batch]:
    return (batch for _ in range(epochs) for batch in underway.batches)
