"""The Ray executor: jobs as tasks of a Ray cluster, tried again where the worker of one dies.

Every node must see the sweep's folder under the same path.
"""

import os
import socket
from typing import Any

from priprune_plugins.errors import RunError, ScenarioError
from priprune_plugins.sweep.jobs import Job, Outcome, Progress, perform
from priprune_plugins.sweep.reporter import Reporter
from priprune_plugins.sweep.worker import environment

LOCAL = "local"
RETRIES = 3
_SECONDS_TO_ANSWER = 5.0
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
        self._ray = _imported()
        _check_reachable(address)
        self._threads = threads
        self._running: dict[Any, Job] = {}
        self._news: dict[str, str] = {}
        variables = {**environment(threads), "RAY_USAGE_STATS_ENABLED": "0"}
        try:
            self._ray.init(
                address=address,
                runtime_env={"env_vars": variables},
                log_to_driver=False,
                logging_level="ERROR",
                **({"include_dashboard": False} if address == LOCAL else {}),
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _no_cluster(address, error) from error
        resources = self._ray.cluster_resources()
        self._cpus, self._gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if self._cpus < threads:
            self.close()
            raise ScenarioError(f"--ray {address}: the cluster has {self._cpus} CPUs and a cell asks for {threads}")
        self._board = self._ray.remote(_Board).options(num_cpus=0).remote()

    @property
    def slots(self) -> int:
        """How many jobs the cluster takes at a time."""
        return self._cpus // self._threads

    def submit(self, job: Job) -> None:
        """Begin a job; Ray waits for a free GPU where the job wants one and the cluster has any."""
        task = self._ray.remote(_perform).options(
            num_cpus=self._threads,
            num_gpus=1 if job.gpu and self._gpus else 0,
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
        self._ray.shutdown()


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


def _check_reachable(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself goes on asking for many minutes."""
    if address in (LOCAL, "auto"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ScenarioError(f"--ray must be host:port, ray://host:port, auto or local, got {address[:60]!r}")
    try:
        socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ScenarioError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ScenarioError(f"--ray {address}: no Ray cluster answers ({reason}); start one, or give local")


def _imported() -> Any:
    # Ray reports its use to its makers unless it is told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without this, Ray warns that it will one day no longer hide GPUs from tasks that ask for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise ScenarioError("--ray needs Ray: pip install 'priprune-plugins[ray]'") from error
    if ray.is_initialized():
        raise RunError("this process is connected to a Ray cluster already; call ray.shutdown() first")
    return ray
