"""How plugins may set a client's live weights, and what it keeps of them."""

import torch

from priprune_plugins.messages import Client


def test_a_client_composes_at_once_where_nothing_is_pending(client: Client) -> None:
    client.compose(torch.full((6,), 9.0), torch.tensor([True, False] * 3))
    assert client.weights.tolist() == [9, 1, 9, 3, 9, 5] and client.received.tolist() == [0, 1, 2, 3, 4, 5]


def test_what_a_client_keeps_of_its_training_follows_an_edit_of_the_live_weights(client: Client) -> None:
    client.ended = torch.ones(6)
    assert client.trained is client.ended
    client.weights[0] = 7
    assert client.trained.tolist() == [7, 1, 2, 3, 4, 5]
