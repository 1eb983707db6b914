"""The weights that a client's training starts from."""

import torch
from torch import Tensor

from priprune_plugins.masks import apply_, part_size, same_bits
from priprune_plugins.messages import Client


def start_(client: Client, received_mask: Tensor | None) -> Tensor:
    """Make the live weights those that training starts from, and return what these are.

    Args:
        client: Has run ``on_local_train_start``.
        received_mask: ``[D]`` bool, the server's mask, which has pruned the broadcast, or None.

    Returns:
        ``[D]``: the broadcast itself where nobody changed a weight, else a copy of the weights.
    """
    pending, client.pending = client.pending, None
    unpruned = client.mask is not received_mask
    if pending is None:
        vector, received = client.vector, client.received
        return pruned_start_(vector, client.mask, received, received_mask) if client.taken or unpruned else received
    if not (pending.composed or unpruned):
        pending.write_()
        return client.received
    start = torch.empty_like(client.vector)
    pending.write_(client.mask, start)
    return start


def pruned_start_(weights: Tensor, mask: Tensor | None, received: Tensor, received_mask: Tensor | None) -> Tensor:
    """Prune the weights that the plugins composed, in place, and return what training starts from.

    Args:
        weights: ``[D]`` the live weights.
        mask: ``[D]`` bool, the client's base mask, or None.
        received: ``[D]`` the broadcast, pruned by ``received_mask``.
        received_mask: ``[D]`` bool, the server's mask, or None.

    Returns:
        ``[D]``: ``received`` itself where nobody changed a weight, else a copy of ``weights``; always a copy on a GPU.
    """
    # A comparison would wait for the GPU, for longer than the copy takes there.
    if weights.device.type == "cpu" and mask is received_mask and same_bits(weights, received):
        return received
    start, size = torch.empty_like(weights), part_size(weights)
    flags = [None] * -(-weights.numel() // size) if mask is None else torch.split(mask, size)
    # Copied part by part, while what was just pruned is still in the core's cache.
    for part, copy, kept in zip(torch.split(weights, size), torch.split(start, size), flags, strict=True):
        copy.copy_(apply_(part, kept))
    return start
