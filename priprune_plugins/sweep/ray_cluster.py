"""The Ray executor: jobs as tasks of a Ray cluster, tried again where the worker of one dies.

Every node must see the sweep's folder under the same path.
"""

from typing import Any

from priprune_plugins.cluster.session import Session
from priprune_plugins.run.process_environment import environment
from priprune_plugins.sweep.jobs import Job, Outcome, Progress, perform
from priprune_plugins.sweep.reporter import Reporter

RETRIES = 3
_SECONDS_BETWEEN = 0.5


class RayExecutor:
    """Runs jobs on a Ray cluster.

    Args:
        address: The cluster's, ``auto`` for the one on this machine, ``local`` to start one that ends with the sweep.
        threads: CPU threads of each job, reserved with Ray.

    Raises:
        ScenarioError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str, threads: int) -> None:
        self._session = Session(address, threads, environment(threads))
        self._ray = self._session.ray
        self._running: dict[Any, Job] = {}
        self._news: dict[str, str] = {}
        self._board = self._ray.remote(_Board).options(num_cpus=0).remote()

    @property
    def slots(self) -> int:
        """How many jobs the cluster takes at a time."""
        return self._session.slots

    def submit(self, job: Job) -> None:
        """Begin a job; Ray waits for a free GPU where the job wants one and the cluster has any."""
        task = self._ray.remote(_perform).options(
            num_cpus=self._session.threads,
            num_gpus=1 if job.gpu and self._session.gpus else 0,
            max_retries=RETRIES,
            name=job.label,
        )
        self._running[task.remote(job, self._board)] = job

    def event(self) -> Outcome | Progress:
        """Wait until a job tells how far it is, or ends."""
        while True:
            ended, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_SECONDS_BETWEEN)
            if ended:
                return self._outcome(ended[0])
            running = {job.key for job in self._running.values()}
            self._news = {key: text for key, text in (self._news or self._told()).items() if key in running}
            if self._news:
                return Progress(*self._news.popitem())

    def _outcome(self, task: Any) -> Outcome:
        job = self._running.pop(task)
        try:
            outcome: Outcome = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            return Outcome(job.key, 0.0, f"Ray gave it up after {RETRIES} retries: {reason}")
        return outcome

    def _told(self) -> dict[str, str]:
        # The board may have been on a node that is gone: jobs go on all the same, and tell nothing more.
        try:
            news: dict[str, str] = self._ray.get(self._board.taken.remote())
        except self._ray.exceptions.RayError:
            return {}
        return news

    def close(self) -> None:
        """Cancel what still runs and leave the cluster; a local one ends."""
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running.clear()
        self._session.close()


class _Board:
    """Where jobs write how far they are, from wherever they run; the last word of each is kept until it is taken."""

    def __init__(self) -> None:
        self._news: dict[str, str] = {}

    def tell(self, progress: Progress) -> None:
        self._news[progress.key] = progress.text

    def taken(self) -> dict[str, str]:
        news, self._news = self._news, {}
        return news


def _perform(job: Job, board: Any) -> Outcome:
    return perform(job, Reporter(job.key, board.tell.remote))
