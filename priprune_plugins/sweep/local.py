"""The local executor: spawned processes on this machine, each with one GPU or a share of the cores."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from priprune_plugins.run.process_environment import environment
from priprune_plugins.sweep.jobs import Job, Outcome, Progress
from priprune_plugins.sweep.worker import serve

_SECONDS_TO_END = 10.0


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: Job | None = None


class LocalExecutor:
    """Runs jobs in processes that are started when they are needed and serve until the end.

    Args:
        workers: How many jobs at a time.
        threads: CPU threads of each.
        gpus: The GPUs to deal to workers in turn, as ``CUDA_VISIBLE_DEVICES`` names them; none = the CPU.
    """

    def __init__(self, workers: int, threads: int, gpus: Sequence[str] = ()) -> None:
        self._slots, self._threads, self._gpus = workers, threads, list(gpus)
        self._workers: list[_Worker | None] = [None] * workers

    @property
    def slots(self) -> int:
        """How many jobs run at a time."""
        return self._slots

    def submit(self, job: Job) -> None:
        """Begin a job in a worker that has none; never more than ``slots`` at a time."""
        index, worker = next((i, w) for i, w in enumerate(self._workers) if w is None or w.job is None)
        worker = worker or self._started(index)
        self._workers[index] = worker
        worker.job = job
        # A worker that has died without a job fails this one, and the next job gets a new one.
        try:
            worker.pipe.send(job)
        except OSError:
            worker.pipe.close()

    def event(self) -> Outcome | Progress:
        """Wait until a job tells how far it is, or ends; the death of its worker is an end."""
        busy = [(worker, worker.job) for worker in self._workers if worker is not None and worker.job is not None]
        ready = wait([sign for worker, _ in busy for sign in _signs(worker)])
        worker, job = next((worker, job) for worker, job in busy if any(sign in ready for sign in _signs(worker)))
        told = _told(worker)
        if isinstance(told, Progress):
            return told
        worker.job = None
        return told if told is not None else self._died(worker, job)

    def close(self) -> None:
        """Stop every worker, at once where it does not end by itself."""
        workers = [worker for worker in self._workers if worker is not None]
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join(_SECONDS_TO_END)
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self._workers = [None] * self._slots

    def _died(self, worker: _Worker, job: Job) -> Outcome:
        worker.process.join()
        self._workers[self._workers.index(worker)] = None
        return Outcome(job.key, 0.0, f"its process died: {_cause(worker.process.exitcode)}")

    def _started(self, index: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs,), name=f"priprune-sweep-{index}")
        gpu = {"CUDA_VISIBLE_DEVICES": self._gpus[index % len(self._gpus)]} if self._gpus else {}
        with _environment({**environment(self._threads), **gpu}), _interrupts_ignored():
            process.start()
        theirs.close()
        return _Worker(process, ours)


def _signs(worker: _Worker) -> list[Connection | int]:
    return [worker.process.sentinel] if worker.pipe.closed else [worker.pipe, worker.process.sentinel]


def _told(worker: _Worker) -> Outcome | Progress | None:
    """Return what a worker said, which is still in its pipe when it dies afterwards; None where it died silently."""
    try:
        told: Outcome | Progress | None = None if worker.pipe.closed else worker.pipe.recv()
    except (EOFError, OSError):
        return None
    return told


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"signal {name}; the machine was out of memory, perhaps" if name == "SIGKILL" else f"signal {name}"


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for a process that is started inside; they must be there before its torch is imported."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Start a process that ignores Ctrl-C, which a terminal sends to all: stopping workers is the parent's business."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
