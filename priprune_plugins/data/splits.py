"""What is set apart: the server's public images, and each client's validation images."""

import torch
from torch import Tensor

from priprune_plugins.data.partitions import Parts
from priprune_plugins.errors import ScenarioError
from priprune_plugins.generators import generator


def split_public(tests: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the public positions and the rest of ``tests [M]``, both in the order of ``tests``.

    Raises:
        ScenarioError: No test image would be left.
    """
    if count >= len(tests):
        raise ScenarioError(f"data.public must be 0 to {len(tests) - 1}, one less than the test images, got {count}")
    order = torch.randperm(len(tests), generator=generator(seed, "data", "public"))
    return tests[order[:count].sort().values], tests[order[count:].sort().values]


def carve_validation(parts: Parts, share: float, seed: int) -> tuple[Parts, Parts]:
    """Return each client's training and validation positions; with a share above 0 each keeps one image of both.

    Raises:
        ScenarioError: No training image would be left, or a client has too few.
    """
    if share == 0:
        return parts, tuple(part[:0] for part in parts)
    if share >= 1 or min(map(len, parts)) < 2:
        raise ScenarioError(
            f"data.validation must be below 1 and needs 2 images a client, got {share:g} "
            f"and a client with {min(map(len, parts))}; lower it, or raise data.min_samples"
        )
    train, validation = [], []
    for client_id, part in enumerate(parts):
        count = min(max(1, round(share * len(part))), len(part) - 1)
        order = torch.randperm(len(part), generator=generator(seed, "data", "validation", client_id))
        validation.append(part[order[:count].sort().values])
        train.append(part[order[count:].sort().values])
    return tuple(train), tuple(validation)
