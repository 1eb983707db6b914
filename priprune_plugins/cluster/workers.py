"""Workers of one run, placed on a Ray cluster; on GPUs as many as measured memory allows."""

from typing import Any

import torch

from priprune_plugins.cluster.session import LOCAL, Session
from priprune_plugins.cluster.tensors import travel_as_arrays
from priprune_plugins.cluster.visits import Job, Left
from priprune_plugins.cluster.worker import Worker
from priprune_plugins.errors import PriPruneError, ScenarioError
from priprune_plugins.run.process_environment import environment
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.whole import Scenario

# The rest stays free: other clients may hold more images, and each process has a context of its own.
_SHARE_OF_FREE = 0.8
_SECONDS_TO_STAND = 120.0

Answer = tuple[Left | PriPruneError, list[tuple[str, str]]]


class RayWorkers:
    """Workers of one run; a context that ends them.

    Args:
        scenario: The run's; every node must see its files under the same paths.
        address: The cluster's; see :class:`Session`.
        workers: How many; None = as many as the cluster has CPUs for. Never more than clients in a round.
        threads: CPU threads of each worker, and of this process while it lasts: figures depend on their number in the
            last bits, and on nothing else that is said here.
        watcher: Is told what takes long.

    Attributes:
        ray: The module, once connected.
        num_workers: How many there will be, once connected.
    """

    ray: Any
    num_workers: int
    _scenario: Any

    def __init__(
        self, scenario: Scenario, address: str, workers: int | None, threads: int, watcher: Watcher | None = None
    ) -> None:
        self._given, self._address, self._wanted, self._threads = scenario, address, workers, threads
        self._watcher = watcher or Watcher()
        self._session: Session | None = None
        self._gpus = 0
        self._gpu_share = 0.0
        self._threads_before = torch.get_num_threads()

    def connect(self) -> None:
        """Connect to the cluster; whatever else can be wrong with a run is cheaper to find out before.

        Raises:
            ScenarioError: No Ray, no cluster, or more workers than it has CPUs for.
        """
        what = "starting Ray" if self._address == LOCAL else f"connecting to Ray at {self._address}"
        self._watcher.say(f"{what} ...")
        self._session = session = Session(self._address, self._threads, environment(self._threads))
        self.ray = session.ray
        travel_as_arrays()
        if self._wanted is not None and self._wanted > session.slots:
            raise ScenarioError(
                f"--workers {self._wanted}: the cluster has {session.cpus} CPUs, at {self._threads} a worker give at "
                f"most {session.slots}"
            )
        self.num_workers = min(self._wanted or session.slots, self._given.algorithm.clients_per_round)
        self._gpus, self._gpu_share = session.gpus, 1.0 if session.gpus else 0.0
        self._scenario = self.ray.put(self._given)

    def __enter__(self) -> "RayWorkers":
        torch.set_num_threads(self._threads)
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads_before)
        if self._session is not None:
            self._session.close()

    def placed(self) -> Any:
        """Start a worker; Ray queues what it is given until it stands."""
        options = {"num_cpus": self._threads, "num_gpus": self._gpu_share}
        return self.ray.remote(Worker).options(**options).remote(self._scenario, self._threads)

    def all_placed(self) -> list[Any]:
        """Start all workers and wait until they stand, or for two minutes where the cluster is busy otherwise."""
        self._watcher.say(f"starting {self.num_workers} Ray workers ...")
        workers = [self.placed() for _ in range(self.num_workers)]
        standing = [worker.memory.remote() for worker in workers]
        self.ray.wait(standing, num_returns=len(standing), timeout=_SECONDS_TO_STAND)
        return workers

    def probed(self, job: Job, broadcast: Any) -> Answer:
        """Carry out a job on one GPU alone, and from its memory decide how many workers each GPU will hold."""
        worker = self.placed()
        answer: Answer = self.ray.get(worker.perform.remote(job, broadcast))
        taken, free = self.ray.get(worker.memory.remote())
        self.ray.kill(worker)
        room = workers_a_gpu(taken, free + taken)
        self.num_workers = min(self.num_workers, room * self._gpus)
        self._gpu_share = 1.0 / room
        return answer

    @property
    def on_gpus(self) -> bool:
        """Whether workers share GPUs."""
        return self._gpus > 0


def workers_a_gpu(taken: int, free: int) -> int:
    """Return how many workers of ``taken`` bytes fit into ``free`` bytes of a GPU with some to spare; at least 1."""
    return max(1, int(_SHARE_OF_FREE * free) // max(1, taken)) if taken else 1
