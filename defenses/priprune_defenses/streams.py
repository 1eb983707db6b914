"""Several independent random streams out of the one that a plugin has for a client and round."""

import torch


def substream(generator: torch.Generator, index: int) -> torch.Generator:
    """Return the ``index``-th of the independent CPU generators that a fresh ``generator`` stands for."""
    seeds = torch.randint(2**63 - 1, (index + 1,), generator=generator)
    return torch.Generator().manual_seed(int(seeds[index]))
