"""What an executor runs: one cell, one training that several cells attack, or one cell on such a training."""

import gc
import os
import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from priprune_plugins.checkpoint.durable import replace_durably
from priprune_plugins.errors import PriPruneError
from priprune_plugins.memory import give_back_freed
from priprune_plugins.run.folder import write_text
from priprune_plugins.run.runner import run_scenario
from priprune_plugins.run.trained import attack_trained
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario import Scenario

Kind = Literal["run", "train", "attack"]
_ERROR = "error.txt"


@dataclass(frozen=True)
class Job:
    """One piece of work that needs no other that runs at the same time.

    Args:
        key: Of the cell, or of the training.
        kind: ``run`` trains and attacks; ``train`` only trains; ``attack`` attacks what ``trained`` holds.
        label: What it is, for a reader.
        scenario: The scenario.
        folder: Where the result goes, an absolute path.
        part: Where it is made until it is whole. Its name says which scenario it is of, so that what an interrupt left
            is only ever gone on with by the same.
        threads: CPU threads.
        gpu: Whether it wants one.
        cwd: Where relative paths of the scenario start.
        trained: The folder of the training that an ``attack`` needs.
    """

    key: str
    kind: Kind
    label: str
    scenario: Scenario
    folder: Path
    part: Path
    threads: int
    gpu: bool
    cwd: Path
    trained: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Args:
        key: The job's.
        seconds: How long it took.
        error: None where it is done, else one line.
    """

    key: str
    seconds: float
    error: str | None = None


@dataclass(frozen=True)
class Progress:
    """How far a running job is, for a reader: ``round 3/40``."""

    key: str
    text: str


def perform(job: Job, watcher: Watcher | None = None) -> Outcome:
    """Do a job; whatever goes wrong is the job's own failure and its outcome.

    Args:
        job: The job. What a failed try left is removed; what a killed one left is gone on with, from its last
            checkpoint, to the same bits.
        watcher: Is told what happens.

    Raises:
        Interrupted: SIGINT or SIGTERM, which is nobody's failure.
    """
    started = time.perf_counter()
    torch.set_num_threads(job.threads)
    if job.cwd.is_dir():
        os.chdir(job.cwd)
    error = None
    try:
        _do(job, watcher)
    except Exception as failure:  # noqa: BLE001 - a sweep goes on, whatever a cell's plugins raise
        error = _line(failure)
        _keep_traceback(job.part)
    # A federation's parts know one another, so that nothing of it goes by itself before the next job fills the memory.
    gc.collect()
    give_back_freed()
    return Outcome(job.key, round(time.perf_counter() - started, 3), error)


def _do(job: Job, watcher: Watcher | None) -> None:
    if (job.part / _ERROR).is_file():
        shutil.rmtree(job.part)
    if job.trained is not None:
        attack_trained(job.scenario, job.trained, job.part, watcher)
    else:
        run_scenario(job.scenario, job.part, watcher, attacked=job.kind == "run", resume=True)
    # The ledger will say that it is done.
    replace_durably(job.part, job.folder)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, PriPruneError) else f"{type(error).__name__}: {text}"


def _keep_traceback(part: Path) -> None:
    # The disk may be what failed; the outcome says so all the same.
    try:
        part.mkdir(parents=True, exist_ok=True)
        write_text(part / _ERROR, traceback.format_exc())
    except OSError:
        return
