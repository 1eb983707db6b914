"""A crew of workers on a Ray cluster, each with one resident model.

What they leave is handed on in the order of the visits, so that neither their number nor the death of one changes a bit
of any figure.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from priprune_plugins.cluster.visits import Job, Left
from priprune_plugins.cluster.worker import warn_again
from priprune_plugins.cluster.workers import Answer, RayWorkers
from priprune_plugins.errors import PriPruneError, RunError
from priprune_plugins.simulation.broadcast import Broadcast
from priprune_plugins.simulation.client_round import ClientRunner, Visit
from priprune_plugins.simulation.crew import check_portable
from priprune_plugins.simulation.sent import Sent

RETRIES = 3
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Given:
    """A job that a worker has.

    Args:
        place: Its place among the round's jobs.
        job: The job.
        worker: Who has it.
        deaths: How many workers died of it, or with it.
    """

    place: int
    job: Job
    worker: Any
    deaths: int = 0


class RayCrew:
    """Lets workers carry out training visits; probes and controls stay in this process.

    Args:
        workers: Who does it.
        runner: Of the driver's federation.

    Raises:
        ScenarioError: The algorithm's trainer keeps of clients what cannot be told apart, or the cluster is unfit.
    """

    def __init__(self, workers: RayWorkers, runner: ClientRunner) -> None:
        check_portable(runner, "--ray")
        workers.connect()
        self._workers, self._ray, self._runner = workers, workers.ray, runner
        # How many share a GPU is known only after the first job.
        self._probed = not workers.on_gpus
        # Before round 0, to whose seconds their start does not belong.
        self._idle: list[Any] = workers.all_placed() if self._probed else []
        self._placed = len(self._idle)

    def run(self, visits: Sequence[Visit]) -> Iterator[Sent | None]:
        """Yield what each visit leaves, in the order given."""
        if not visits or not all(visit.keep for visit in visits):
            yield from map(self._runner.run, visits)
            return
        first, runner = visits[0], self._runner
        shared = self._ray.put(Broadcast.of(first, runner.buffers.server))
        jobs = [Job.of(runner, visit) for visit in visits]
        for visit, left in zip(visits, self._carried_out(jobs, shared), strict=True):
            yield left.taken_over(runner, visit)

    def _carried_out(self, jobs: Sequence[Job], shared: Any) -> Iterator[Left]:
        done: dict[int, Left] = {}
        waiting = list(enumerate(jobs))
        if not self._probed:
            self._probed = True
            place, job = waiting.pop(0)
            done[place] = _told(self._workers.probed(job, shared))
        running: dict[Any, _Given] = {}
        for wanted in range(len(jobs)):
            while wanted not in done:
                while waiting and (worker := self._free()) is not None:
                    self._give(_Given(*waiting.pop(0), worker), shared, running)
                self._collect(running, done, shared)
            yield done.pop(wanted)

    def _give(self, given: _Given, shared: Any, running: dict[Any, _Given]) -> None:
        running[given.worker.perform.remote(given.job, shared)] = given

    def _collect(self, running: dict[Any, _Given], done: dict[int, Left], shared: Any) -> None:
        """Wait for one job; give it to another worker where its own died."""
        (task, *_), _ = self._ray.wait(list(running), num_returns=1)
        given = running.pop(task)
        try:
            answer: Answer = self._ray.get(task)
        except self._ray.exceptions.RayActorError as error:
            if given.deaths == RETRIES:
                raise _lost(given, error) from error
            _logger.warning("the worker of client %d died; another does its round again", given.job.client_id)
            self._give(_Given(given.place, given.job, self._workers.placed(), given.deaths + 1), shared, running)
            return
        self._idle.append(given.worker)
        done[given.place] = _told(answer)

    def _free(self) -> Any | None:
        if self._idle:
            return self._idle.pop()
        if self._placed == self._workers.num_workers:
            return None
        self._placed += 1
        return self._workers.placed()


def _told(answer: Answer) -> Left:
    left, warned = answer
    warn_again(warned)
    if isinstance(left, PriPruneError):
        raise left
    return left


def _lost(given: _Given, error: Exception) -> RunError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return RunError(
        f"Ray lost {given.deaths + 1} workers at client {given.job.client_id}: {reason}; see Ray's own logs"
    )
