"""What the shared options let a pruner remove."""

import torch
from torch import nn

from priprune_plugins.layout import Layout
from priprune_pruners.targets import Targets

NET = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def named(mask: torch.Tensor, layout: Layout) -> set[str]:
    return {name for name, part in zip(layout.names, layout.layers(mask), strict=True) if bool(part.all())}


def test_weights_alone_by_default() -> None:
    layout = Layout.of(NET)
    assert torch.equal(Targets().candidates(layout), layout.prunable)


def test_biases_norms_and_last_layer_by_option() -> None:
    layout = Layout.of(NET)
    assert named(Targets(biases=True).candidates(layout), layout) == {"0.weight", "0.bias", "3.weight", "3.bias"}
    assert named(Targets(norms=True).candidates(layout), layout) == {"0.weight", "1.weight", "1.bias", "3.weight"}
    assert named(Targets(biases=True, dense_last=True).candidates(layout), layout) == {"0.weight", "0.bias"}
