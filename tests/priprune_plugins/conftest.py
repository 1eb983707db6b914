"""A client, a server and an upload of six parameters, made of the contract's own types."""

import pytest
import torch
from torch import nn

from priprune_plugins.layout import Layout
from priprune_plugins.messages import Client, Facts, Server, Upload


@pytest.fixture
def facts() -> Facts:
    model = nn.Linear(2, 2)
    return Facts(
        lambda: nn.Linear(2, 2), Layout.of(model), (1, 1, 2), 2, 0.1, 1, 1, None, "fedavg", torch.zeros(1, 1, 2)
    )


@pytest.fixture
def client(facts: Facts) -> Client:
    return Client(
        client_id=3,
        round_idx=0,
        num_steps=1,
        num_samples=4,
        facts=facts,
        received=torch.arange(6.0),
        weights=torch.arange(6.0),
        mask=None,
        model=nn.Linear(2, 2),
        batches=(),
        states=lambda plugin: {},
        generators=lambda plugin: torch.Generator(),
        evaluate=lambda split: pytest.fail("not evaluated"),
    )


@pytest.fixture
def server(facts: Facts) -> Server:
    return Server(facts, torch.zeros(6), None, lambda plugin: {}, lambda plugin, round_idx: torch.Generator())


@pytest.fixture
def upload() -> Upload:
    return Upload(client_ids=(3,), round_idx=0, num_samples=4, weights=torch.arange(1.0, 7.0))
