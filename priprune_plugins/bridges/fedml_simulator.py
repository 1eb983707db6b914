"""FedML's single-process FedAvg whose rounds pass the hooks; stock FedML calls none of its own there."""

from collections.abc import Sequence
from typing import Any

from fedml.simulation.sp.fedavg.fedavg_api import FedAvgAPI
from torch import nn

from priprune_plugins.bridges.fedml_trainer import PluginTrainer
from priprune_plugins.bridges.server_side import ServerSide, Weighted
from priprune_plugins.bridges.setting import Setting
from priprune_plugins.bridges.state_dicts import StateDict
from priprune_plugins.facts import LabelledSet

_SETUP_ROUND = -1


class PluginFedAvgAPI(FedAvgAPI):  # type: ignore[misc]
    """FedML's ``FedAvgAPI`` with plugins: ``PluginFedAvgAPI(args, device, dataset, model, setting).train()``.

    Client ids are the indices of FedML's local data sets. Without a plugin every bit is stock FedML's.

    Args:
        args: FedML's arguments.
        device: Where clients train.
        dataset: FedML's eight-element list.
        model: The initialised model, the setting's.
        setting: Plugins, facts, seed and initial weights.
        public: The server's labelled public set, or None.
    """

    model_trainer: Any

    def __init__(
        self,
        args: Any,
        device: Any,
        dataset: Any,
        model: nn.Module,
        setting: Setting,
        public: LabelledSet | None = None,
    ) -> None:
        super().__init__(args, device, dataset, model)
        self.side = ServerSide(setting, public)
        counts = self.train_data_local_num_dict
        self.model_trainer = PluginTrainer(self.model_trainer, setting, lambda client_id: int(counts[client_id]))
        for client in self.client_list:
            client.model_trainer = self.model_trainer

    def train(self) -> None:
        """Run the setup round where a plugin wants one, then all rounds."""
        wishes = self.side.setting.setup_clients()
        if wishes:
            self._setup(wishes)
        # Stock FedML's first broadcast is what its trainer says the weights are.
        self.model_trainer.hand_on(self.side.start_round(0))
        super().train()
        self.side.end()

    def _setup(self, wishes: Sequence[Sequence[int] | None]) -> None:
        """Let clients send what plugins ask for before round 0; a sampled round is that of round 0."""
        args = self.args
        sampled = self._client_sampling(0, args.client_num_in_total, args.client_num_per_round)
        wanted = sorted({int(c) for wish in wishes for c in (sampled if wish is None else wish)})
        broadcast = self.side.start_setup(_SETUP_ROUND)
        uploads: list[Weighted] = []
        for client_id in wanted:
            self.model_trainer.set_id(client_id)
            self.model_trainer.set_model_params(broadcast)
            data = self.train_data_local_dict[client_id]
            uploads.append((self.train_data_local_num_dict[client_id], self.model_trainer.setup(data, self.device)))
        self.side.receive_setup(uploads)

    def _aggregate(self, w_locals: list[Weighted]) -> StateDict:
        final = self.side.aggregated(super()._aggregate(self.side.receive(w_locals)))
        following = self.side.server.round_idx + 1
        return self.side.start_round(following) if following < int(self.args.comm_round) else final
