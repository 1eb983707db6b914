"""Runs a plan: which job is next, what the ledger says, what a failure takes with it."""

from collections import deque
from dataclasses import replace
from pathlib import Path

from priprune_plugins.scenario import Scenario
from priprune_plugins.sweep.executor import Executor
from priprune_plugins.sweep.folder import SweepFolder
from priprune_plugins.sweep.jobs import Job, Kind, Outcome, Progress
from priprune_plugins.sweep.ledger import DONE, FAILED, RUNNING
from priprune_plugins.sweep.plan import Cell, Plan
from priprune_plugins.sweep.results import write_results
from priprune_plugins.sweep.watcher import SweepWatcher


def run_sweep(
    plan: Plan, folder: SweepFolder, executor: Executor, watcher: SweepWatcher | None = None
) -> dict[str, str]:
    """Run every cell that is not done, and write the results.

    Args:
        plan: The checked plan.
        folder: Prepared and locked by the caller.
        executor: Runs the jobs.
        watcher: Is told what happens.

    Returns:
        The error of each cell that failed, by key.
    """
    schedule = _Schedule(plan, folder, watcher or SweepWatcher())
    try:
        schedule.run(executor)
    finally:
        executor.close()
        write_results(folder.path)
    return schedule.failed


class _Schedule:
    """The jobs of a plan that are left, in the order of its cells."""

    def __init__(self, plan: Plan, folder: SweepFolder, watcher: SweepWatcher) -> None:
        self._plan, self._folder, self._watcher = plan, folder, watcher
        self._cwd = Path.cwd()
        self._ready: deque[Job] = deque()
        # Cells that wait for a training, by its key.
        self._waiting: dict[str, list[Job]] = {}
        self._running: dict[str, Job] = {}
        self.failed: dict[str, str] = {}
        self._fill()

    def _fill(self) -> None:
        states = self._folder.states(cell.key for cell in self._plan.cells)
        shared = self._plan.shared()
        for cell in self._plan.cells:
            if states[cell.key] == DONE:
                continue
            if cell.training_key in shared:
                self._add_attack(cell, cell.training_key, shared[cell.training_key])
            else:
                self._ready.append(self._of_cell("run", cell))
        self._watcher.begin(len(states), sum(state == DONE for state in states.values()))

    def _add_attack(self, cell: Cell, training_key: str, sharing: list[Cell]) -> None:
        trained = self._folder.training(training_key).absolute()
        attack = self._of_cell("attack", cell, trained)
        if trained.is_dir():
            self._ready.append(attack)
            return
        if training_key not in self._waiting:
            # One that was begun is gone on with, also where another of its cells has become the first.
            begun = (one for one in sharing if self._folder.training_part(training_key, one.key).is_dir())
            self._ready.append(self._of_training(next(begun, cell), training_key, len(sharing)))
        self._waiting.setdefault(training_key, []).append(attack)

    def _of_cell(self, kind: Kind, cell: Cell, trained: Path | None = None) -> Job:
        paths = self._folder.new_cell(cell), self._folder.new_cell_part(cell)
        return self._job(kind, cell.key, cell.scenario, cell.point.label, paths, trained)

    def _of_training(self, cell: Cell, key: str, cells: int) -> Job:
        scenario = replace(cell.scenario, name=f"training-{key}")
        paths = self._folder.training(key), self._folder.training_part(key, cell.key)
        return self._job("train", key, scenario, f"training of {cells} cells ({cell.point.label}, …)", paths)

    def _job(
        self,
        kind: Kind,
        key: str,
        scenario: Scenario,
        label: str,
        paths: tuple[Path, Path],
        trained: Path | None = None,
    ) -> Job:
        folder, part = paths
        return Job(
            key=key,
            kind=kind,
            label=label,
            scenario=scenario,
            folder=folder.absolute(),
            part=part.absolute(),
            threads=self._plan.sweep.threads,
            gpu=scenario.device != "cpu",
            cwd=self._cwd,
            trained=trained,
        )

    def run(self, executor: Executor) -> None:
        while self._ready or self._running:
            while self._ready and len(self._running) < executor.slots:
                self._start(self._ready.popleft(), executor)
            event = executor.event()
            if isinstance(event, Progress):
                self._watcher.progress(self._running[event.key], event.text)
            else:
                self._end(self._running.pop(event.key), event)

    def _start(self, job: Job, executor: Executor) -> None:
        job.folder.parent.mkdir(exist_ok=True)
        self._folder.ledger.write(job.key, RUNNING, kind=job.kind, label=job.label, folder=self._relative(job))
        self._running[job.key] = job
        self._watcher.started(job)
        executor.submit(job)

    def _end(self, job: Job, outcome: Outcome) -> None:
        self._record(job, outcome)
        followers = self._waiting.pop(job.key, []) if job.kind == "train" else []
        if outcome.error is None:
            # Before anything else: what has just been trained is still in the disk's cache.
            self._ready.extendleft(reversed(followers))
            self._watcher.ended(job, outcome, cells=job.kind != "train")
            return
        for cell in followers or [job]:
            self.failed[cell.key] = outcome.error
        for cell in followers:
            self._record(cell, outcome)
        self._watcher.ended(job, outcome, cells=len(followers or [job]))

    def _record(self, job: Job, outcome: Outcome) -> None:
        state = DONE if outcome.error is None else FAILED
        figures = {"label": job.label, "folder": self._relative(job), "seconds": outcome.seconds}
        self._folder.ledger.write(job.key, state, kind=job.kind, **figures, error=outcome.error)

    def _relative(self, job: Job) -> str:
        return str(job.folder.relative_to(self._folder.path.absolute()))
