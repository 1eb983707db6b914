"""From uploads to what the FedLab algorithm aggregates: absent coordinates, weights, and the order of the sum."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.masks import applied, chosen, part_size
from priprune_plugins.simulation.codecs import Codec
from priprune_plugins.simulation.filled_mean import FilledMean, Mean, terms

with fedlab_imports():
    from fedlab.utils.aggregator import Aggregators

Absent = Literal["previous", "holders", "zeros"]


def fill_absent(
    packs: Sequence[list[Tensor]],
    present: Sequence[Tensor | None],
    codec: Codec,
    server_weights: Tensor,
    policy: Absent,
    shares: Sequence[float],
) -> list[list[Tensor]]:
    """Give every coordinate that a client did not send the value that ``policy`` says.

    A parameter-sized extra counts 0 where it is absent, under every policy: SCAFFOLD's control variate then stays the
    mean of the clients' own.

    Args:
        packs: One pack per client.
        present: Per client ``[D]`` bool, True where it sent; None = everywhere, and its pack keeps its bytes.
        codec: Meaning of the packs.
        server_weights: ``[D]`` dense weights of the server.
        policy: ``previous`` = the server's value, ``holders`` = mean over those who sent it (where nobody did, the
            server's value), ``zeros`` = 0, the paper's Algorithm 1 to the letter.
        shares: Weight of each client in the mean.
    """
    if all(sent is None for sent in present):
        return list(packs)
    fill = _fill(packs, present, codec, server_weights, policy, shares)
    # A group's mean, the very same pack several times, is filled once.
    filled = {
        id(pack): pack if sent is None else _filled(pack, sent, codec, fill)
        for pack, sent in {id(pack): (pack, sent) for pack, sent in zip(packs, present, strict=True)}.values()
    }
    return [filled[id(pack)] for pack in packs]


def _filled(pack: list[Tensor], sent: Tensor, codec: Codec, fill: Tensor) -> list[Tensor]:
    extras = (
        applied(extra, sent) if name in codec.vectors else extra
        for name, extra in zip(codec.extras, pack[1:], strict=True)
    )
    return [chosen(sent, pack[0], fill), *extras]


def _fill(
    packs: Sequence[list[Tensor]],
    present: Sequence[Tensor | None],
    codec: Codec,
    server_weights: Tensor,
    policy: Absent,
    shares: Sequence[float],
) -> Tensor:
    previous = server_weights if codec.form == "weights" else torch.zeros_like(server_weights)
    if policy == "previous":
        return previous
    if policy == "zeros":
        return previous - server_weights
    total, holders = torch.zeros_like(previous), torch.zeros_like(previous)
    for pack, sent, share in zip(packs, present, shares, strict=True):
        total.add_(applied(pack[0], sent), alpha=share)
        holders.add_(torch.ones_like(holders) if sent is None else sent.to(holders.dtype), alpha=share)
    return torch.where(holders > 0, total / holders.clamp_min(torch.finfo(holders.dtype).tiny), previous)


def filled_mean(
    vectors: Sequence[Tensor],
    present: Sequence[Tensor | None],
    server_weights: Tensor,
    policy: Absent,
    shares: Sequence[float],
) -> Mean:
    """Return the mean over weights as they were sent that equals, bit for bit, the mean after :func:`fill_absent`.

    Where nobody sent a coordinate it gives the server's own value, but under ``zeros``.

    Args:
        vectors: ``[D]`` weights per client.
        present: Per client ``[D]`` bool, or None.
        server_weights: ``[D]`` dense weights of the server.
        policy: See :func:`fill_absent`.
        shares: Weight of each client in the mean.
    """
    if all(sent is None for sent in present):
        return running_mean
    fill = _fill([[vector] for vector in vectors], present, Codec(), server_weights, policy, shares)
    return FilledMean(present, fill, None if policy == "zeros" else server_weights)


def running_mean(vectors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Return ``sum(share_i * vector_i)`` added up in the order given, in one vector of memory.

    A group's mean, the very same tensor several times, is added once with all its shares.
    """
    summed = terms(vectors, shares, [None] * len(vectors))
    mean, size = torch.empty_like(summed[0].vector), part_size(summed[0].vector.reshape(-1))
    # In parts on CPU: the sum so far stays in a core's cache, and each vector is read once.
    in_parts = (torch.split(term.vector.reshape(-1), size) for term in summed)
    for part, first, *others in zip(torch.split(mean.view(-1), size), *in_parts, strict=True):
        torch.mul(first, summed[0].share, out=part)
        for other, term in zip(others, summed[1:], strict=True):
            part.add_(other, alpha=term.share)
    return mean


def normalised(num_samples: Sequence[float], weighting: Literal["samples", "uniform"]) -> list[float]:
    """Return each client's share of the mean; the shares add up to 1."""
    amounts = num_samples if weighting == "samples" else [1] * len(num_samples)
    return [amount / sum(amounts) for amount in amounts]


@contextmanager
def weighted_mean(
    packs: Sequence[list[Tensor]],
    codec: Codec,
    shares: Sequence[float],
    weighting: Literal["samples", "uniform"],
    order: Literal["running", "stock"],
    mean_of: Mean = running_mean,
) -> Iterator[None]:
    """Inside the block FedLab's unweighted mean weights its clients and sums as the scenario says.

    Every FedLab handler averages through ``Aggregators.fedavg_aggregate``; replacing that function reaches all of them
    without rewriting any. With uniform weights and the stock order it is left alone, so that its bits are FedLab's; on
    a GPU stock FedLab multiplies by weights on the CPU and fails, so there the weights are passed. ``mean_of`` adds up
    in the running order.
    """
    stock = Aggregators.fedavg_aggregate
    if order == "stock" and weighting == "uniform" and packs[0][0].device.type == "cpu":
        yield
        return
    uniform = {id(packs[0][1 + codec.extras.index(name)]) for name in codec.uniform}

    def aggregate(vectors: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
        used = list(weights) if weights is not None else list(shares)
        if weights is None and id(vectors[0]) in uniform:
            used = [1 / len(vectors)] * len(vectors)
        if order == "stock":
            mean: Tensor = stock(list(vectors), torch.tensor(used, device=vectors[0].device))
            return mean
        return mean_of(vectors, [float(share) / float(sum(used)) for share in used])

    Aggregators.fedavg_aggregate = staticmethod(aggregate)
    try:
        yield
    finally:
        Aggregators.fedavg_aggregate = staticmethod(stock)
