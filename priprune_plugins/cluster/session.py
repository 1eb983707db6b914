"""A connection to a Ray cluster, or to one on this machine that lives as long as the connection."""

import os
import socket
from importlib.util import find_spec
from typing import Any

from priprune_plugins.errors import RunError, ScenarioError, missing_extra

LOCAL = "local"
_SECONDS_TO_ANSWER = 5.0
_NEEDED = ("--ray", "Ray", "ray")


class Session:
    """Connects to a cluster for a command's length.

    Args:
        address: The cluster's, ``auto`` for the one on this machine, ``local`` to start one that ends with the session.
        threads: CPU threads that each piece of work reserves.
        variables: Environment of the processes that do the work.

    Attributes:
        ray: The module.
        cpus: CPUs of the cluster.
        gpus: Its GPUs.

    Raises:
        ScenarioError: Ray is not installed, there is no cluster at the address, or it is too small.
    """

    def __init__(self, address: str, threads: int, variables: dict[str, str]) -> None:
        check_reachable(address)
        self.ray = _imported()
        self.threads = threads
        try:
            self.ray.init(
                address=address,
                runtime_env={"env_vars": {**variables, "RAY_USAGE_STATS_ENABLED": "0"}},
                log_to_driver=False,
                logging_level="ERROR",
                **({"include_dashboard": False} if address == LOCAL else {}),
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _no_cluster(address, error) from error
        resources = self.ray.cluster_resources()
        self.cpus, self.gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if self.cpus < threads:
            self.close()
            raise ScenarioError(
                f"--ray {address}: the cluster has {self.cpus} CPUs and {threads} threads are asked for"
            )

    @property
    def slots(self) -> int:
        """How many pieces of work the cluster takes at a time."""
        return self.cpus // self.threads

    def close(self) -> None:
        """Leave the cluster; a local one ends."""
        self.ray.shutdown()


def check_reachable(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself goes on asking for many minutes.

    Raises:
        ScenarioError: It is no address of a cluster, nobody listens there, or Ray is not installed.
    """
    if find_spec("ray") is None:
        raise missing_extra(*_NEEDED)
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
        raise missing_extra(*_NEEDED) from error
    if ray.is_initialized():
        raise RunError("this process is connected to a Ray cluster already; call ray.shutdown() first")
    return ray
