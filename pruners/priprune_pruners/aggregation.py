"""The mean over holders as FedDST and LotteryFL define it: the reference for the host's ``absent: holders``."""

from collections.abc import Sequence

import torch
from torch import Tensor


def holder_mean(
    weights: Sequence[Tensor], masks: Sequence[Tensor], shares: Sequence[float], previous: Tensor
) -> Tensor:
    """Return ``sum_k s_k m_k w_k / sum_k s_k m_k``, and ``previous`` where no client holds the coordinate.

    Args:
        weights: ``[D]`` per client.
        masks: ``[D]`` bool per client, True = held.
        shares: Weight of each client: its samples (FedDST) or 1 (LotteryFL).
        previous: ``[D]``: 0 in FedDST, the last global weights in LotteryFL.
    """
    total, mass = torch.zeros_like(previous), torch.zeros_like(previous)
    for client, mask, share in zip(weights, masks, shares, strict=True):
        total.add_(torch.where(mask, client, 0), alpha=share)
        mass.add_(mask, alpha=share)
    return torch.where(mass > 0, total / mass.where(mass > 0, torch.ones_like(mass)), previous)
