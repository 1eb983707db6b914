"""FedML's client: any ``ClientTrainer`` whose training passes the hooks, in the simulator and across silos."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fedml.core import ClientTrainer
from torch import Tensor, nn

from priprune_plugins.bridges.client_side import ClientSide
from priprune_plugins.bridges.observed_rounds import close_round, open_round
from priprune_plugins.bridges.setting import Setting
from priprune_plugins.bridges.state_dicts import StateDict, unpacked
from priprune_plugins.bridges.task import Task
from priprune_plugins.errors import ScenarioError


class PluginTrainer(ClientTrainer):  # type: ignore[misc]
    """A trainer around another one; give it to ``FedMLRunner(..., client_trainer=...)`` of a cross-silo client.

    FedML's own local noise and encryption come after the defences, in ``on_after_local_training`` of the inner trainer.
    A client's id is the one of ``set_id``: in the simulator the index of its data, across silos the process's rank - 1.

    Args:
        inner: Trains, with a torch optimiser over ``model.parameters()``.
        setting: Plugins, facts, seed and initial weights.
        samples_of: Returns a client's images; None = what ``update_dataset`` says.
    """

    def __init__(self, inner: ClientTrainer, setting: Setting, samples_of: Callable[[int], int] | None = None) -> None:
        self.inner = inner
        super().__init__(inner.model, inner.args)
        self.side = ClientSide(setting)
        self._samples_of = samples_of or (lambda client_id: int(self.local_sample_number))
        self._beside: Mapping[str, Tensor] = {}
        self._sent: StateDict | None = None

    @property
    def model(self) -> nn.Module:
        """The inner trainer's model, which FedML replaces by assignment."""
        model: nn.Module = self.inner.model
        return model

    @model.setter
    def model(self, model: nn.Module) -> None:
        self.inner.model = model

    def set_id(self, trainer_id: int) -> None:
        """Set the client's id."""
        super().set_id(int(trainer_id))
        self.inner.set_id(int(trainer_id))

    def update_dataset(self, local_train_dataset: Any, local_test_dataset: Any, local_sample_number: int) -> None:
        """Set the client's data."""
        super().update_dataset(local_train_dataset, local_test_dataset, local_sample_number)
        self.inner.update_dataset(local_train_dataset, local_test_dataset, local_sample_number)

    def get_model_params(self) -> StateDict:
        """Return the upload once training is done, else the model's own entries."""
        own: StateDict = self.inner.get_model_params()
        return own if self._sent is None else self._sent

    def hand_on(self, broadcast: StateDict) -> None:
        """Let the next :meth:`get_model_params` return a broadcast as it is."""
        self._sent = broadcast

    def set_model_params(self, model_parameters: Mapping[str, Tensor]) -> None:
        """Load a broadcast, and keep what the server says beside it."""
        parcel = unpacked(model_parameters)
        self._beside, self._sent = parcel.beside, None
        self.inner.set_model_params(parcel.state)

    def on_before_local_training(self, train_data: Any, device: Any, args: Any) -> None:
        """Let the inner trainer have its hook."""
        self.inner.on_before_local_training(train_data, device, args)

    def train(self, train_data: Any, device: Any, args: Any) -> None:
        """Train by the inner trainer, inside the hooks, and make the upload ready."""
        model, setting = self.model.to(device), self.side.setting
        task = Task.read(self._beside, self.id, self._samples_of(self.id), len(train_data) * int(args.epochs))
        visit = open_round(self.side, model, task, train_data)
        with visit.steps():
            self.inner.train(visit.batches, device, args)
        trained = close_round(self.side, visit)
        self._sent = trained.packed(self.inner.get_model_params(), setting.facts.layout)

    def setup(self, train_data: Any, device: Any) -> StateDict:
        """Return what this client sends in the setup round."""
        task = Task.read(self._beside, self.id, self._samples_of(self.id), 0)
        trained = self.side.setup(self.model.to(device), task, train_data)
        return trained.packed(self.inner.get_model_params(), self.side.setting.facts.layout)

    def on_after_local_training(self, train_data: Any, device: Any, args: Any) -> None:
        """Let the inner trainer have its hook, FedML's local noise for instance, on what will be sent."""
        if self._sent is None:
            raise ScenarioError("FedML: on_after_local_training came before train")
        parcel = unpacked(self._sent)
        self.inner.set_model_params(parcel.state)
        self.inner.on_after_local_training(train_data, device, args)
        self._sent = replace(parcel, state=self.inner.get_model_params()).packed()

    def test(self, test_data: Any, device: Any, args: Any) -> Any:
        """Test by the inner trainer."""
        return self.inner.test(test_data, device, args)
