"""The same decisions on a GPU as on the CPU."""

import pytest
import torch

from priprune_plugins.masks import without_lowest
from priprune_pruners.budgets import layer_budgets
from priprune_pruners.feddst import readjusted
from priprune_pruners.magnitude import Magnitude
from priprune_pruners.random import random_scores
from priprune_pruners.reconfiguration import reconfigured, survivors
from priprune_pruners.selection import select
from priprune_pruners.synflow import synflow_mask


@pytest.mark.gpu
def test_masks_are_those_of_the_cpu(federation, net) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    run = federation(Magnitude(), net)
    cpu, model = run.layout, run.fresh_model()
    gpu = type(cpu).of(run.fresh_model().cuda())
    weights, grad = run.initial, torch.rand(cpu.num_parameters, generator=torch.Generator().manual_seed(0))

    def decisions(layout, weights, grad):
        mask = select(weights.abs(), layout.prunable, 0.3)
        lower, budgets = layer_budgets(layout, 0.6), layer_budgets(layout, 0.3)
        stays = survivors(weights, mask, layout, 0.3)
        seconds = torch.ones(len(layout.sizes), dtype=torch.float64)
        yield mask
        yield from readjusted(weights, mask, grad, lower, budgets, layout)
        yield reconfigured(stays, grad**2, seconds, 5.0, layout, 900)
        yield random_scores(layout, torch.Generator().manual_seed(1)) < 0.5
        yield synflow_mask(model, layout, weights, layout.prunable, 0.5, (1, 8, 8), iterations=10)

    ours = decisions(cpu, weights, grad)
    theirs = decisions(gpu, weights.cuda(), grad.cuda())
    for on_cpu, on_gpu in zip(ours, theirs, strict=True):
        assert on_gpu.is_cuda
        assert torch.equal(on_cpu, on_gpu.cpu())


@pytest.mark.gpu
def test_long_vectors_are_ordered_on_the_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    scores = torch.rand(500_000, generator=torch.Generator().manual_seed(0))
    everything = torch.ones(500_000, dtype=torch.bool)
    ours = without_lowest(scores.cuda(), everything.cuda(), 200_000).cpu()
    assert torch.equal(ours, without_lowest(scores, everything, 200_000))
