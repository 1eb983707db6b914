from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_attacks.candidates import candidate_gradients
from priprune_attacks.shared_model import model_at
from priprune_plugins import LabelledSet


class Twice(nn.Module):
    """One layer called twice: its gradient is no outer product."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.last = nn.Linear(36, 36), nn.Linear(36, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.inside(self.inside(images.flatten(1)).relu()).relu())


def factored() -> nn.Module:
    strided = nn.Conv2d(1, 4, 3, stride=2, padding=1, dilation=1)
    return nn.Sequential(strided, nn.ReLU(), nn.Conv2d(4, 3, 2, bias=False), nn.Flatten(), nn.Linear(12, 10))


def normed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.parametrize("build", [factored, normed, Twice], ids=lambda build: build.__name__)
def test_weighted_sums_are_those_of_the_gradients_written_out(
    build: Callable[[], nn.Module], new_scene: Callable[..., Any]
) -> None:
    scene = new_scene(build, (1, 6, 6), 10, dtype=torch.float64)
    draws = torch.Generator().manual_seed(1)
    images = torch.rand(5, 1, 6, 6, generator=draws, dtype=torch.float64)
    candidates = LabelledSet(images, torch.tensor([3, 1, 4, 1, 5]))
    layout = scene.facts.layout
    weights = torch.rand(layout.num_parameters, generator=draws, dtype=torch.float64)
    rows = [scene.gradient(images[i : i + 1], candidates.labels[i : i + 1]) for i in range(5)]
    gradients = torch.stack(rows)
    parts = list(candidate_gradients(model_at(scene.facts, scene.broadcast, {}), layout, candidates))
    for function in (torch.positive, torch.abs, torch.square):
        for index, part in enumerate(layout.slices):
            got = torch.cat([own.weighted(weights[part], function) for p in parts for own in p if own.layer == index])
            assert torch.allclose(got, function(gradients[:, part]) @ weights[part], rtol=1e-9, atol=1e-12)


def test_many_candidates_come_in_order_and_in_parts(new_scene: Callable[..., Any]) -> None:
    scene = new_scene(factored, (1, 6, 6), 10)
    images = torch.rand(150, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    candidates = LabelledSet(images, torch.zeros(150, dtype=torch.long))
    layout = scene.facts.layout
    parts = list(candidate_gradients(model_at(scene.facts, scene.broadcast, {}), layout, candidates))
    assert len(parts) == 3
    bias = layout.names.index("4.bias")
    got = torch.cat([own.weighted(torch.ones(10), torch.abs) for part in parts for own in part if own.layer == bias])
    last = scene.gradient(images[149:], torch.zeros(1, dtype=torch.long))
    assert float(got[149]) == pytest.approx(float(last[layout.slices[bias]].abs().sum()), rel=1e-4)
