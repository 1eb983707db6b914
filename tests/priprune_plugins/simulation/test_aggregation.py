"""What an absent coordinate counts, by hand."""

import pytest
import torch
from torch import Tensor

from priprune_plugins.simulation.aggregation import Aggregators, fill_absent, normalised, running_mean, weighted_mean
from priprune_plugins.simulation.codecs import Codec

SERVER = torch.tensor([10.0, 20.0, 30.0])
FIRST, SECOND = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([5.0, 6.0, 7.0])
SENT = [torch.tensor([True, False, False]), torch.tensor([True, True, False])]
SHARES = [0.25, 0.75]


def aggregate(packs: list[list[Tensor]], codec: Codec, policy: str) -> Tensor:
    filled = fill_absent(packs, SENT, codec, SERVER, policy, SHARES)  # type: ignore[arg-type]
    with weighted_mean(filled, codec, SHARES, "samples", "running"):
        mean: Tensor = Aggregators.fedavg_aggregate([pack[0] for pack in filled])
    return mean if codec.form == "weights" else SERVER + mean


@pytest.mark.parametrize("form", ["weights", "update"])
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        # .25 * 1 + .75 * 5 = 4; .25 * 20 + .75 * 6 = 9.5; nobody sent the third
        ("previous", [4.0, 9.5, 30.0]),
        ("holders", [4.0, 6.0, 30.0]),
        ("zeros", [4.0, 4.5, 0.0]),
    ],
)
def test_an_absent_coordinate_counts_what_the_policy_says(form: str, policy: str, expected: list[float]) -> None:
    vectors = [FIRST, SECOND] if form == "weights" else [FIRST - SERVER, SECOND - SERVER]
    codec = Codec(form=form)  # type: ignore[arg-type]
    assert aggregate([[vector] for vector in vectors], codec, policy).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("policy", ["previous", "holders", "zeros"])
def test_an_absent_control_variate_counts_zero_under_every_policy(policy: str) -> None:
    codec = Codec(form="update", extras=("dc",), vectors=frozenset({"dc"}))
    packs = [[FIRST, torch.ones(3)], [SECOND, torch.ones(3)]]
    filled = fill_absent(packs, SENT, codec, SERVER, policy, SHARES)  # type: ignore[arg-type]
    assert [pack[1].tolist() for pack in filled] == [[1, 0, 0], [1, 1, 0]]


def test_uploads_with_nothing_absent_keep_their_bytes() -> None:
    packs = [[FIRST], [SECOND]]
    filled = fill_absent(packs, [None, None], Codec(), SERVER, "zeros", SHARES)
    assert filled[0][0] is FIRST
    assert filled[1][0] is SECOND


def test_shares_follow_samples_or_are_equal() -> None:
    assert normalised([10, 30], "samples") == [0.25, 0.75]
    assert normalised([10, 30], "uniform") == [0.5, 0.5]


def test_a_uniform_extra_is_averaged_without_sample_weights() -> None:
    codec = Codec(form="update", extras=("dc",), vectors=frozenset({"dc"}), uniform=frozenset({"dc"}))
    packs = [[FIRST, FIRST], [SECOND, SECOND.clone()]]
    packs[0][1] = FIRST.clone()
    with weighted_mean(packs, codec, SHARES, "samples", "running"):
        assert Aggregators.fedavg_aggregate([p[0] for p in packs]).tolist() == [4.0, 5.0, 6.0]
        assert Aggregators.fedavg_aggregate([p[1] for p in packs]).tolist() == [3.0, 4.0, 5.0]


def test_fedlabs_own_mean_is_back_after_the_block() -> None:
    stock = Aggregators.fedavg_aggregate
    with weighted_mean([[FIRST]], Codec(), [1.0], "samples", "running"):
        assert Aggregators.fedavg_aggregate is not stock
    assert Aggregators.fedavg_aggregate is stock


def test_stock_order_with_sample_weights_agrees_with_the_running_sum() -> None:
    vectors = list(torch.randn(10, 1000, generator=torch.Generator().manual_seed(0)))
    shares = normalised(range(1, 11), "samples")  # type: ignore[arg-type]
    packs = [[vector] for vector in vectors]
    with weighted_mean(packs, Codec(), shares, "samples", "stock"):
        stock = Aggregators.fedavg_aggregate(vectors)
    assert torch.allclose(stock, running_mean(vectors, shares), atol=1e-6)
