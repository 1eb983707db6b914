"""The holder mean against bibikar/feddst and charleslipku/LotteryFL."""

import pytest
import torch

from priprune_pruners.aggregation import holder_mean

NAMES = [f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")]


def flat(data, prefix: str) -> torch.Tensor:
    return torch.cat([torch.from_numpy(data[f"{prefix}/{name}"]).reshape(-1) for name in NAMES])


def masks(data, prefix: str) -> torch.Tensor:
    """Masks of weights from the data, biases held by all."""
    held = [
        torch.from_numpy(data[f"{prefix}/{name}"]).reshape(-1).bool() if name.endswith("weight")
        else torch.ones(data[f"{prefix}/{name[:-4]}weight"].shape[0], dtype=torch.bool)
        for name in NAMES
    ]  # fmt: skip
    return torch.cat(held)


def test_mean_by_samples_equals_feddst(oracle) -> None:
    data = oracle("feddst")
    weights = [flat(data, f"server/client{c}/weight") for c in range(3)]
    held = [masks(data, f"server/client{c}/mask") for c in range(3)]
    mean = holder_mean(weights, held, data["server/sizes"].tolist(), torch.zeros_like(weights[0]))
    union, weight = held[0] | held[1] | held[2], masks(data, "server/union_mask")
    assert torch.equal(union, weight)
    prunable = torch.cat([torch.full((data[f"server/avg_weight/{n}"].size,), n.endswith("weight")) for n in NAMES])
    torch.testing.assert_close(mean[prunable], flat(data, "server/avg_weight")[prunable], rtol=0, atol=1e-6)
    torch.testing.assert_close(mean[~prunable], flat(data, "server/out_weight")[~prunable], rtol=0, atol=1e-6)


def test_unweighted_mean_with_previous_values_equals_lotteryfl(oracle) -> None:
    data = oracle("lotteryfl")
    weights = [flat(data, f"agg/client{c}/weight") for c in range(3)]
    held = [masks(data, f"prune/client{c}/mask") for c in range(3)]
    mean = holder_mean(weights, held, [1, 1, 1], flat(data, "in/global"))
    torch.testing.assert_close(mean, flat(data, "agg/out"), rtol=0, atol=1e-6)


@pytest.mark.parametrize("held", [True, False])
def test_nobody_holds_it_then_the_previous_value_stands(held: bool) -> None:
    mean = holder_mean([torch.tensor([2.0])], [torch.tensor([held])], [3.0], torch.tensor([7.0]))
    assert mean.item() == (2.0 if held else 7.0)
