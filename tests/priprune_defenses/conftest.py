"""A client of six parameters, made of the contract's own types."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from priprune_plugins.generators import generator
from priprune_plugins.layout import Layout
from priprune_plugins.messages import Client, Evaluation, Facts, State, Upload


class Participation:
    """Runs a client's round by hand: the host's part of the contract, for one plugin, on any model.

    Args:
        model: Decides the layout; its weights are not used.
        lr: Learning rate of the clients.
        batch_size: Images a step.
    """

    def __init__(self, model: nn.Module | None = None, lr: float = 0.1, batch_size: int = 20) -> None:
        model = model or nn.Linear(2, 2)
        self.layout = Layout.of(model)
        self.facts = Facts(
            build_model=lambda: model,
            layout=self.layout,
            image_shape=(1, 1, 2),
            num_classes=2,
            lr=lr,
            batch_size=batch_size,
            local_steps=1,
            epochs=None,
            algorithm="fedavg",
            mean_image=torch.zeros(1, 1, 2),
        )
        self.model = model
        self.states: dict[int, State] = {}

    def client(
        self,
        received: Tensor,
        mask: Tensor | None = None,
        client_id: int = 0,
        round_idx: int = 0,
        num_steps: int = 1,
        num_samples: int = 20,
    ) -> Client:
        return Client(
            client_id=client_id,
            round_idx=round_idx,
            num_steps=num_steps,
            num_samples=num_samples,
            facts=replace(self.facts, local_steps=num_steps),
            received=received,
            weights=received.clone(),
            mask=mask,
            model=self.model,
            batches=[],
            states=lambda plugin: self.states.setdefault(client_id, {}),
            generators=lambda plugin: generator(0, round_idx, client_id),
            evaluate=lambda split: Evaluation(0.0, 0.0, 0),
        )

    def __call__(
        self, plugin: object, client: Client, gradients: list[Tensor] | Callable[[Tensor], Tensor], num_steps: int = 1
    ) -> Upload:
        """Start, train by plain gradient steps, upload; return what leaves the client."""
        if hasattr(plugin, "on_local_train_start"):
            plugin.on_local_train_start(client)
        _prune(client)
        client.start = client.weights.clone()
        for step in range(num_steps if callable(gradients) else len(gradients)):
            grad = gradients(client.weights) if callable(gradients) else gradients[step]
            client.step_idx = step
            client.in_step(grad, lambda grad=grad: grad)
            if hasattr(plugin, "on_local_step"):
                plugin.on_local_step(client)
            client.in_step(None, None)
            client.weights -= self.facts.lr * grad
            _prune(client)
        upload = Upload((client.client_id,), client.round_idx, client.num_samples, client.weights.clone())
        return plugin.before_upload(client, upload) or upload  # type: ignore[attr-defined]


def _prune(client: Client) -> None:
    if client.mask is not None:
        client.weights[~client.mask] = 0.0


@pytest.fixture
def participate() -> Participation:
    return Participation()


@pytest.fixture
def participation() -> type[Participation]:
    """The class, for a test that needs another model or learning rate."""
    return Participation
