"""The process in which the local executor runs jobs, one after the other."""

import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import Connection

from priprune_plugins.sweep.jobs import Job, perform
from priprune_plugins.sweep.reporter import Reporter


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
            jobs.send(perform(job, Reporter(job.key, jobs.send)))
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
