"""FedML's server across silos: any ``ServerAggregator`` whose rounds pass the hooks."""

from collections.abc import Mapping
from typing import Any

from fedml.core import ServerAggregator
from fedml.ml.aggregator.aggregator_creator import create_server_aggregator
from torch import Tensor, nn

from priprune_plugins.bridges.server_side import ServerSide, Weighted
from priprune_plugins.bridges.setting import Setting
from priprune_plugins.bridges.state_dicts import StateDict, unpacked
from priprune_plugins.facts import LabelledSet


class PluginAggregator(ServerAggregator):  # type: ignore[misc]
    """An aggregator around another one; give it to ``FedMLRunner(..., server_aggregator=...)`` of a cross-silo server.

    FedML's own attackers and defenders see an upload after it has passed the hooks: what was not sent has its received
    value by then. Uploads must be the clients' whole weights, as under FedML's ``FedAvg`` and ``FedProx``.

    Args:
        model: The model that it tests with.
        args: FedML's arguments.
        setting: Plugins, facts, seed and initial weights.
        public: The server's labelled public set, or None.
        inner: The aggregator; None = FedML's default one.

    Raises:
        ScenarioError: A plugin needs a setup round.
    """

    def __init__(
        self,
        model: nn.Module,
        args: Any,
        setting: Setting,
        public: LabelledSet | None = None,
        inner: ServerAggregator | None = None,
    ) -> None:
        setting.refuse_setup("FedML across silos")
        self.inner = inner or create_server_aggregator(model, args)
        super().__init__(model, args)
        self.side = ServerSide(setting, public)
        self._broadcast: StateDict | None = None

    def get_model_params(self) -> StateDict:
        """Return the current broadcast, that of round 0 at the first call."""
        if self._broadcast is None:
            self._broadcast = self.side.start_round(0)
        return self._broadcast

    def set_model_params(self, model_parameters: Mapping[str, Tensor]) -> None:
        """Load weights into the model that tests."""
        self.inner.set_model_params(unpacked(model_parameters).state)

    def on_before_aggregation(self, raw_client_model_or_grad_list: list[Weighted]) -> tuple[list[Weighted], list[int]]:
        """Show the uploads to the plugins, and hand on to the inner aggregator what is to be averaged."""
        handed: tuple[list[Weighted], list[int]] = self.inner.on_before_aggregation(
            self.side.receive(raw_client_model_or_grad_list)
        )
        return handed

    def aggregate(self, raw_client_model_or_grad_list: list[Weighted]) -> StateDict:
        """Return the inner aggregator's mean."""
        mean: StateDict = self.inner.aggregate(raw_client_model_or_grad_list)
        return mean

    def on_after_aggregation(self, aggregated_model_or_grad: StateDict) -> StateDict:
        """Take over the mean and return the next round's broadcast, which FedML sends; after the last, the weights."""
        final = self.side.aggregated(self.inner.on_after_aggregation(aggregated_model_or_grad))
        following = self.side.server.round_idx + 1
        if following < int(self.args.comm_round):
            self._broadcast = self.side.start_round(following)
        else:
            self._broadcast = final
            self.side.end()
        return self._broadcast

    def test(self, test_data: Any, device: Any, args: Any) -> Any:
        """Test by the inner aggregator."""
        return self.inner.test(test_data, device, args)

    def test_all(self, train_data_local_dict: Any, test_data_local_dict: Any, device: Any, args: Any) -> Any:
        """Test by the inner aggregator."""
        return self.inner.test_all(train_data_local_dict, test_data_local_dict, device, args)
