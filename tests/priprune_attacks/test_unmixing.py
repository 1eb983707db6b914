"""Corners of the polytope of non-negative mixtures."""

import torch
from torch import Tensor

from priprune_attacks.unmixing import corners


def inputs(count: int, zeros: float) -> Tensor:
    """Non-negative rows with a share of zeros, as behind a ReLU."""
    draws = torch.Generator().manual_seed(0)
    values = torch.rand(count, 300, generator=draws, dtype=torch.float64)
    return values * (torch.rand(count, 300, generator=draws) >= zeros)


def shares(values: Tensor) -> Tensor:
    return values / values.sum(1, keepdim=True)


def distances_of_corners(span: Tensor, truth: Tensor) -> Tensor:
    """Distance of every corner to every input, all of unit sum; a corner that is an input is kept."""
    found, search = [], corners(span, 40, torch.Generator().manual_seed(1))
    mixture = next(search, None)
    while mixture is not None:
        found.append(torch.cdist(shares((mixture @ span).unsqueeze(0)), shares(truth))[0])
        try:
            mixture = search.send(bool(found[-1].min() < 1e-6))
        except StopIteration:
            break
    return torch.stack(found)


def test_every_input_is_a_corner_and_each_is_found_once() -> None:
    truth = inputs(8, zeros=0.4)
    mixed = torch.randn(8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64) @ truth
    distances = distances_of_corners(torch.linalg.qr(mixed.T).Q.T, truth)
    nearest = distances.argmin(1)[distances.amin(1) < 1e-6]
    assert sorted(nearest.tolist()) == list(range(8))


def test_inputs_without_zeros_are_no_corners() -> None:
    truth = inputs(3, zeros=0.0) + 0.5
    assert float(distances_of_corners(truth, truth).min()) > 1e-3
