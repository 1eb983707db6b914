"""Randomness: one independent stream per purpose, named by a key.

Two streams with different keys are independent, so that the number of workers, the order of clients, an attack
that runs or not, and a resume change no draw of any other stream.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

Key = int | str


def derived_seed(seed: int, *key: Key) -> int:
    """Return a 63-bit seed for the stream that ``key`` names.

    Args:
        seed: The scenario's seed.
        *key: Names and numbers, for instance ``"client", round_idx, client_id, "batches"``; ``1`` and ``"1"`` differ.
    """
    digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *key: Key, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh generator for the stream that ``key`` names, on ``device``."""
    return torch.Generator(device=device).manual_seed(derived_seed(seed, *key))


@contextmanager
def seeded_globals(seed: int, *key: Key) -> Iterator[None]:
    """Seed the global generators of Python, numpy and torch inside the block and restore them after it.

    For code that is not ours and draws from the global generators, FedLab's trainers and partitioners.
    """
    value = derived_seed(seed, *key)
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        random.seed(value)
        np.random.seed(value % 2**32)
        _seed_torch(value)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _seed_torch(value: int) -> None:
    # torch.manual_seed formats a traceback for every accelerator that it finds uninitialised, at each call.
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(value)
