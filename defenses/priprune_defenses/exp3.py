"""EXP3, a bandit that assumes nothing of its rewards: those of a training model drift.

Reference: Auer, Cesa-Bianchi, Freund, Schapire, "The Nonstochastic Multiarmed Bandit Problem", SIAM Journal on
Computing 32(1), 2002, Figure 1.
"""

import torch
from torch import Tensor

GAMMA = 0.2  # share of exploration; a client takes part in tens of rounds, not in thousands


def probabilities(log_weights: Tensor, gamma: float = GAMMA) -> Tensor:
    """Return ``[K]`` the probability of each arm."""
    return log_weights.softmax(0) * (1 - gamma) + gamma / log_weights.numel()


def drawn(log_weights: Tensor, stream: torch.Generator) -> int:
    """Return the arm to play."""
    return int(torch.multinomial(probabilities(log_weights), 1, generator=stream))


def updated(log_weights: Tensor, arm: int, reward: float, gamma: float = GAMMA) -> Tensor:
    """Return ``[K]`` the log-weights after ``arm`` brought ``reward``, in [0, 1]."""
    estimate = reward / float(probabilities(log_weights, gamma)[arm])
    result = log_weights.clone()
    result[arm] += gamma * estimate / log_weights.numel()
    return result
