"""What a federation is built from."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from priprune_plugins.generators import generator
from priprune_plugins.messages import Facts, Server
from priprune_plugins.plugins import PluginHost
from priprune_plugins.scenario.sections import AggregationSection
from priprune_plugins.simulation.aggregation import Absent
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.buffers import BufferKeeper
from priprune_plugins.simulation.client_round import ClientRunner
from priprune_plugins.simulation.crew import MakeCrew, OneByOne
from priprune_plugins.simulation.states import StateStore


@dataclass(frozen=True, eq=False)
class Setting:
    """Everything that a federation is built from.

    Args:
        algorithm: The FedLab algorithm.
        training: The clients' training.
        steps: Local steps, or None for ``training.epochs`` passes.
        rounds: Rounds in all.
        model: Initialised model on the run's device.
        data: ``FederatedImages``: clients' images, the global test set, the public set.
        facts: Public facts.
        host: All plugins.
        aggregation: The scenario's section.
        absent: Policy for coordinates that were not sent, after the pruner's own choice.
        seed: The scenario's seed.
        crew: Makes the one who carries out visits, from the runner of this process.
    """

    algorithm: Algorithm
    training: LocalTraining
    steps: int | None
    rounds: int
    model: nn.Module
    data: Any
    facts: Facts
    host: PluginHost
    aggregation: AggregationSection
    absent: Absent
    seed: int
    crew: MakeCrew = OneByOne

    def runner(self, buffers: BufferKeeper, states: StateStore) -> ClientRunner:
        """Return a runner of clients' rounds, with a trainer of its own.

        Args:
            buffers: Batch-norm statistics.
            states: Where the algorithm's memories of the clients lie.
        """
        return ClientRunner(
            algorithm=self.algorithm,
            trainer=self.algorithm.trainer(self.model, self.training),
            training=self.training,
            data=self.data,
            facts=self.facts,
            buffers=buffers,
            seed=self.seed,
            states=states,
        )

    def server(self, weights: Tensor, states: StateStore) -> Server:
        """Return the server that plugins see.

        Args:
            weights: ``[D]`` the handler's own.
            states: Where plugins remember.
        """
        return Server(
            facts=self.facts,
            weights=weights,
            public=self.data.public,
            states=lambda plugin: states.of(plugin, None),
            generators=lambda plugin, round_idx: generator(self.seed, "server", round_idx, self.host.key(plugin)),
        )
