"""The process in which the local executor runs jobs, one after the other."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from priprune_plugins.run.watcher import Watcher
from priprune_plugins.sweep.jobs import Job, Progress, perform

_SECONDS_BETWEEN = 0.2


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a process that runs cells.

    It must be set before torch is imported. Threads that spin while they wait make cells that share a machine many
    times slower; more threads than a cell's share do the same.
    """
    count = str(threads)
    named = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    # FedLab depends on pynvml, about which torch warns at import; no user can do anything about it.
    return {
        **dict.fromkeys(named, count),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONWARNINGS": ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:The pynvml package"])),
    }


def serve(jobs: Connection) -> None:
    """Run jobs as they come; end when the parent closes the pipe, or dies.

    Args:
        jobs: Brings jobs, takes their progress and their outcomes.
    """
    # A terminal sends Ctrl-C to the whole group: stopping us is the parent's business, once and not twice.
    os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while (job := _next(jobs)) is not None:
            jobs.send(perform(job, _Reporter(job.key, jobs)))
    except KeyboardInterrupt as stopped:
        sys.exit(getattr(stopped, "exit_code", 1))


def _next(jobs: Connection) -> Job | None:
    try:
        job: Job | None = jobs.recv()
    except EOFError:
        return None
    return job


def _end_with_parent() -> None:
    # A parent that was killed cannot stop us, and the next sweep must find nobody at work in its folder.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Reporter(Watcher):
    """Tells the parent how far a job is, a few times a second at most."""

    def __init__(self, key: str, jobs: Connection) -> None:
        self._key, self._jobs = key, jobs
        self._rounds, self._attack, self._last = 0, "", 0.0

    def begin(self, name: str, rounds: int) -> None:
        self._rounds = rounds

    def round_done(self, record: Mapping[str, Any]) -> None:
        self._tell(f"round {record['round'] + 1}/{self._rounds}")

    def attack_begins(self, attack: str, uploads: int) -> None:
        self._attack = attack

    def attack_progress(self, share: float, loss: float | None = None) -> None:
        self._tell(f"{self._attack} {100 * share:.0f} %")

    def _tell(self, text: str) -> None:
        if time.monotonic() - self._last >= _SECONDS_BETWEEN:
            self._last = time.monotonic()
            self._jobs.send(Progress(self._key, text))
