"""Which test images a client's own model is tested on."""

import torch
from torch import Tensor

from priprune_plugins.data.images import ImageData
from priprune_plugins.data.partitions import Parts
from priprune_plugins.generators import generator


def apportion(weights: Tensor, total: int) -> Tensor:
    """Split ``total`` into whole numbers in proportion to ``weights [K]`` by largest remainders, ties by position."""
    shares = weights.double() * (total / weights.sum().double())
    whole = shares.floor().long()
    rest = torch.argsort(shares - whole, descending=True, stable=True)[: total - int(whole.sum())]
    whole[rest] += 1
    return whole


def draw_like(
    labels: Tensor, pool: Tensor, pool_labels: Tensor, num_classes: int, size: int, stream: torch.Generator
) -> Tensor:
    """Draw test images whose labels have a client's proportions.

    A label of which the pool holds too few gives all that it holds; where that leaves nothing, one image is drawn from
    the whole pool.

    Args:
        labels: ``[n]`` labels of the client's own images.
        pool: ``[M]`` positions to draw from, without replacement; not empty.
        pool_labels: ``[M]`` their labels.
        num_classes: Number of labels ``K``.
        size: How many to draw, at least 1.
        stream: CPU generator of the draw.

    Returns:
        At least one position, ascending.
    """
    wanted = apportion(torch.bincount(labels, minlength=num_classes), size)
    order = torch.randperm(len(pool), generator=stream)
    shuffled = pool_labels[order]
    chosen = [order[shuffled == label][: int(wanted[label])] for label in wanted.nonzero().squeeze(1)]
    drawn = torch.cat(chosen)
    return pool[drawn if drawn.numel() else order[:1]].sort().values


def local_tests(data: ImageData, parts: Parts, own_tests: Parts, pool: Tensor, seed: int) -> Parts:
    """Return each client's own test positions; a client that has none of its own left gets a draw from ``pool``.

    A draw is as large, against the client's training images, as the pool against all clients' training images.
    """
    pool_labels, total = data.test_labels[pool], sum(map(len, parts))
    is_pooled = torch.zeros(len(data.test_labels), dtype=torch.bool)
    is_pooled[pool] = True
    tests = []
    for client_id, part in enumerate(parts):
        own = own_tests[client_id] if own_tests else pool[:0]
        own = own[is_pooled[own]]
        if not len(own):
            size = max(1, round(len(pool) * len(part) / total))
            stream = generator(seed, "data", "test", client_id)
            own = draw_like(data.train_labels[part], pool, pool_labels, data.num_classes, size, stream)
        tests.append(own)
    return tuple(tests)
