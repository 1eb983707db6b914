"""The server of IFCA: several models, one of which stands for all."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from priprune_plugins.errors import ScenarioError
from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.generators import generator

with fedlab_imports():
    from fedlab.contrib.algorithm.basic_server import SyncServerHandler


class IFCAHandler(SyncServerHandler):  # type: ignore[misc]
    """FedLab's mean for one model after another; FedLab 1.3.0's own handler does not run.

    Attributes:
        models: ``[k, D]`` dense weights.
        leading: Which of them the handler's own weights ``[D]`` are, but for what a plugin has changed there.
        choices: ``[num_clients]`` int64, the model of each client's last upload, -1 before the first.
    """

    def setup_optim(self, clusters: int) -> None:
        """Make the models; see :class:`~priprune_plugins.simulation.algorithms.ifca.IFCA`."""
        first = self.model_parameters
        self.models = torch.stack([first, *(self._shuffled(first, index) for index in range(1, clusters))])
        self.leading = 0
        self.choices = torch.full((self.num_clients,), -1)

    def _shuffled(self, weights: Tensor, index: int) -> Tensor:
        # The numbers themselves come from the scenario's seed, so that their order need not.
        stream = generator(0, "ifca", index)
        sizes = [parameter.numel() for parameter in self._model.parameters()]
        layers = torch.split(weights, sizes)
        return torch.cat([part[torch.randperm(len(part), generator=stream).to(part.device)] for part in layers])

    @property
    def downlink_package(self) -> list[Tensor]:
        """Every model ``[D]``, in order."""
        self._follow_edits()
        return [model.clone() for model in self.models]

    def _follow_edits(self) -> None:
        edited = self.model_parameters
        changed = edited != self.models[self.leading]
        if not bool(changed.any()):
            return
        if bool(edited[changed].any()):
            raise ScenarioError(
                "algorithm ifca: a plugin has set server.weights, which stand for several models that it would make "
                "the same; use a pruner that sets nothing but masks and zeros (magnitude: rewind: false, prunefl: "
                "initial: magnitude)"
            )
        self.models[:, changed] = 0.0

    @contextmanager
    def at_work_on(self, cluster: int) -> Iterator[None]:
        """Make one model the handler's own weights inside the block, and keep what became of them."""
        self.set_model(self.models[cluster])
        yield
        self.models[cluster] = self.model_parameters

    def chosen_by(self, client_ids: Sequence[int], cluster: int) -> None:
        """Note who chose a model."""
        self.choices[list(client_ids)] = cluster

    def lead(self) -> None:
        """Let the model that most clients chose stand for all."""
        counts = torch.bincount(self.choices[self.choices >= 0], minlength=len(self.models))
        self.leading = int(counts.argmax())
        self.set_model(self.models[self.leading])
