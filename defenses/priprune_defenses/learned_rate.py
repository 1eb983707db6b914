"""A rate that each client learns from the accuracy of what it sends: the paper's second open question.

The paper leaves open whether the rate's course could be learned. Here each client plays a bandit whose arms are
multiples of the defence's rate. The reward of an upload weighs what it is worth to the server, the accuracy on the
client's own validation images of the broadcast with the shared coordinates replaced, against how much it withholds.
"""

import torch
from torch import Tensor

from priprune_defenses.exp3 import drawn, updated
from priprune_plugins import Client
from priprune_plugins.masks import chosen
from priprune_plugins.messages import State

_LOG_WEIGHTS = "log_weights"


def played(state: State, num_arms: int, stream: torch.Generator) -> int:
    """Return the arm that a client plays this time; the first time each is as likely."""
    state.setdefault(_LOG_WEIGHTS, torch.zeros(num_arms, dtype=torch.float64))
    return drawn(state[_LOG_WEIGHTS].cpu(), stream)


def learn(state: State, arm: int, client: Client, withheld: Tensor, generosity: float, worth: float) -> None:
    """Reward the arm that was played.

    Args:
        state: The client's.
        arm: What was played.
        client: Its weights are the trained ones, and are left so.
        withheld: ``[D]`` bool, what is withheld by that arm.
        generosity: The arm's rate over the highest arm's, in [0, 1].
        worth: Weight of ``generosity`` in the reward, in [0, 1]; the validation accuracy has the rest.
    """
    accuracy = _accuracy_of_shared(client, withheld)
    if accuracy is not None:
        reward = (1 - worth) * accuracy + worth * generosity
        state[_LOG_WEIGHTS] = updated(state[_LOG_WEIGHTS].cpu(), arm, reward)


def _accuracy_of_shared(client: Client, withheld: Tensor) -> float | None:
    trained = client.weights.clone()
    client.weights.copy_(chosen(withheld, client.received, trained))
    try:
        evaluation = client.evaluate("validation")
    finally:
        client.weights.copy_(trained)
    return evaluation.accuracy if evaluation.num_samples else None
