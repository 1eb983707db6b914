"""Random masks: independent of the weights, repeatable, in the three cycles."""

from itertools import pairwise

import pytest
import torch

from priprune_plugins import ScenarioError
from priprune_plugins.layout import Layout
from priprune_pruners.random import Random, random_scores


def test_mask_is_independent_of_the_weights(federation, net) -> None:
    run = federation(Random(rate=0.5), net).round()
    kept = run.layout.prunable & run.server.mask
    signs = torch.sign(run.initial[kept]).sum() / kept.sum()
    assert abs(float(signs)) < 0.2


def test_scores_fill_the_unit_interval_evenly() -> None:
    layout = Layout(("w",), (torch.Size([100_000]),), (True,))
    scores = random_scores(layout, torch.Generator().manual_seed(0))
    assert torch.histc(scores, 10, 0, 1) == pytest.approx(torch.full((10,), 1e4), rel=0.05)


def test_one_shot_mask_stays(federation, net) -> None:
    run = federation(Random(rate=0.5), net).round()
    first = run.server.mask
    assert torch.equal(run.run(3).server.mask, first)


def test_resample_draws_a_new_mask_of_the_same_size(federation, net) -> None:
    run = federation(Random(rate=0.5, resample=True), net).round()
    first, count = run.server.mask, run.num_pruned
    run.round()
    assert not torch.equal(run.server.mask, first)
    assert run.num_pruned == count


def test_iterative_masks_shrink_to_the_rate(federation, net) -> None:
    run = federation(Random(rate=0.3, iterative=0.2, every=2), net)
    total, masks = int(run.layout.prunable.sum()), []
    for _ in range(6):
        masks.append(run.round().server.mask)
    assert [int((~m).sum()) for m in masks[:3]] == [0, 0, round(0.2 * total)]
    assert int((~masks[-1]).sum()) == round(0.3 * total)
    assert all(bool((later <= earlier).all()) for earlier, later in pairwise(masks))


def test_iterative_and_resample_exclude_each_other() -> None:
    with pytest.raises(ScenarioError, match="iterative and resample"):
        Random(iterative=0.2, resample=True)
