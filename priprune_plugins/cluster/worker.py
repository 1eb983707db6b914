"""A worker: one process with one resident model, which carries out visits for a driver."""

import logging
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from priprune_plugins.cluster.visits import Job, Left
from priprune_plugins.errors import PriPruneError
from priprune_plugins.messages import Run
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import make_federation, make_plugins, make_world
from priprune_plugins.scenario.options import resolved
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.simulation.broadcast import Broadcast

# A logger's name and what it said.
Warned = tuple[str, str]


class Worker:
    """Builds the driver's federation anew from the scenario and carries out visits on it.

    Args:
        scenario: The driver's, its files under the same paths here.
        threads: CPU threads; the last bits of a figure depend on them.
    """

    def __init__(self, scenario: Scenario, threads: int) -> None:
        torch.set_num_threads(threads)
        plugins = make_plugins(scenario)
        world = make_world(scenario, plugins)
        self._device = world.device
        self._scratch = tempfile.TemporaryDirectory(prefix="priprune-worker-")
        here = [entry for entry in plugins.hooked if entry.kind not in ("attacks", "trackers")]
        self._federation = make_federation(scenario, plugins, world, PluginHost(here))
        document = resolved(scenario, plugins.instances())
        self._federation.host.on_run_start(Run(Path(self._scratch.name), document, world.facts))

    def perform(self, job: Job, broadcast: Broadcast) -> tuple[Left | PriPruneError, list[Warned]]:
        """Carry out a visit; return what it leaves, or what stops the run, and what plugins warned of."""
        warned: list[Warned] = []
        with _heard(lambda name, text: warned.append((name, text))):
            try:
                return job.carried_out(self._federation, broadcast), warned
            except PriPruneError as error:
                # Ray would wrap it in a traceback, and its cause may not survive the way.
                return type(error)(str(error)), warned

    def memory(self) -> tuple[int, int]:
        """Return the bytes of the GPU that the visits so far took at most, and those that are free; 0, 0 on a CPU."""
        if self._device.type != "cuda":
            return 0, 0
        free, _ = torch.cuda.mem_get_info(self._device)
        return torch.cuda.max_memory_reserved(self._device), free


class _Listener(logging.Handler):
    def __init__(self, tell: Callable[[str, str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.name, record.getMessage())


@contextmanager
def _heard(tell: Callable[[str, str], None]) -> Any:
    listener = _Listener(tell)
    logging.getLogger().addHandler(listener)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(listener)


def warn_again(warned: Sequence[Warned]) -> None:
    """Log at the driver what a worker's plugins warned of."""
    for name, text in warned:
        logging.getLogger(name).warning("%s", text)
