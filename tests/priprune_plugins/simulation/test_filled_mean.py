"""Filling while adding up gives the bits of filling first and adding up then."""

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from priprune_plugins.masks import PART
from priprune_plugins.simulation.aggregation import Absent, fill_absent, filled_mean, running_mean
from priprune_plugins.simulation.codecs import Codec


def filled_first(
    vectors: list[Tensor], present: list[Tensor | None], server: Tensor, policy: Absent, shares: list[float]
) -> Tensor:
    packs = fill_absent([[vector] for vector in vectors], present, Codec(), server, policy, shares)
    mean = running_mean([pack[0] for pack in packs], shares)
    if policy == "zeros" or any(sent is None for sent in present):
        return mean
    anyone = torch.stack([sent for sent in present if sent is not None]).any(0)
    return torch.where(anyone, mean, server)


def bits(vector: Tensor) -> Tensor:
    return vector.view(torch.int64 if vector.dtype == torch.float64 else torch.int32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    size=st.sampled_from([1, 5, PART + 3]),
    density=st.sampled_from([0.0, 0.1, 0.7, 1.0]),
    whole=st.sets(st.integers(0, 3), max_size=2),
    policy=st.sampled_from(get_args(Absent)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_any_round_gives_the_same_bits_as_filled_vectors(
    seed: int, size: int, density: float, whole: set[int], policy: Absent, dtype: torch.dtype
) -> None:
    draws = torch.Generator().manual_seed(seed)
    server, *vectors = torch.randn(5, size, generator=draws, dtype=dtype)
    present = [None if i in whole else torch.rand(size, generator=draws) < density for i in range(4)]
    shares = torch.rand(4, generator=draws).tolist()
    mean = filled_mean(vectors, present, server, policy, shares)(vectors, shares)
    assert torch.equal(bits(mean), bits(filled_first(vectors, present, server, policy, shares)))


@pytest.mark.parametrize("policy", ["previous", "zeros"])
def test_what_an_absent_coordinate_holds_does_not_matter(policy: Absent) -> None:
    sent = torch.tensor([True, False, False])
    vectors = [torch.tensor([1.0, torch.nan, torch.inf]), torch.tensor([3.0, 4.0, -torch.inf])]
    present = [sent, torch.tensor([True, True, False])]
    mean = filled_mean(vectors, present, torch.tensor([9.0, 2.0, 7.0]), policy, [0.5, 0.5])(vectors, [0.5, 0.5])
    assert mean.tolist() == [2.0, 3.0 if policy == "previous" else 2.0, 7.0 if policy == "previous" else 0.0]


def test_a_groups_mean_is_added_once_with_all_its_shares() -> None:
    group, single = torch.tensor([0.1, 0.2]), torch.tensor([5.0, 6.0])
    present = [torch.tensor([True, False])] * 3 + [torch.tensor([False, True])]
    vectors, shares, server = [group, group, group, single], [0.1, 0.2, 0.3, 0.4], torch.tensor([1.0, 1.0])
    mean = filled_mean(vectors, present, server, "previous", shares)(vectors, shares)
    # .6 * .1 + .4 * 1 and .6 * 1 + .4 * 6
    assert mean.tolist() == pytest.approx([0.46, 3.0])


def test_where_everything_was_sent_the_plain_mean_is_taken() -> None:
    assert filled_mean([torch.ones(2)], [None], torch.zeros(2), "previous", [1.0]) is running_mean
