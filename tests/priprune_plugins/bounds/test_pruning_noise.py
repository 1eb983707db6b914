import math
from dataclasses import replace

import pytest
import torch

from priprune_plugins.bounds.pruning_noise import (
    WIDTH_CONDITION,
    NoiseOptions,
    gaussian_layer,
    noise_distances,
    promised_epsilon,
    pruning_noise,
    unit_inputs,
)

OPTIONS = NoiseOptions(directions=4, draws=20_000, epsilon_ap=2.0, delta_ap=0.1)


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_one_weight_that_goes_leaves_an_exponential_distance() -> None:
    # x = 1 is the only input. g = 0 and h = 2 - 2 L with L ~ Lap(1, 1), so the distance is 2 |L - 1| = 2 Exp(1).
    weight = torch.tensor([[2.0]], dtype=torch.float64)
    found = pruning_noise(weight, None, 0.9, OPTIONS, stream())
    assert (found.width, found.inputs, found.threshold, found.sigma_a) == (1, 1, 2.0, 0.0)
    assert found.delta_ap == pytest.approx(math.exp(-1), abs=0.01)
    assert found.delta_ap <= found.delta_ap_worst <= 0.4
    assert found.epsilon_ap_reached == pytest.approx(2 * math.log(10), rel=0.05)
    assert found.width_condition == WIDTH_CONDITION


def test_without_noise_the_distance_is_what_relu_makes_of_the_change() -> None:
    weight = gaussian_layer(6, 5, 1.0, stream())
    pruned = weight.where(weight.abs() > 0.7, 0.0)
    bias = torch.linspace(-1, 1, 6, dtype=torch.float64)
    options = replace(OPTIONS, noise_scale=1e-300, draws=2)
    x = unit_inputs(4, weight, stream())
    assert (x >= 0).all() and x.square().sum(1).tolist() == pytest.approx([1] * 4)
    distances = noise_distances(x, weight, pruned, bias, options, stream())
    h = (weight @ x.T + bias[:, None]).clamp(min=0) + (pruned - weight) @ x.T
    g = (pruned @ x.T + bias[:, None]).clamp(min=0)
    expected = (g - h).norm(dim=0) / 6**0.5
    torch.testing.assert_close(distances, expected[:, None].expand(4, 2))


def test_nothing_pruned_is_nothing_apart() -> None:
    found = pruning_noise(gaussian_layer(8, 4, 0.5, stream()), None, 0.0, replace(OPTIONS, draws=5), stream())
    assert (found.threshold, found.delta_ap, found.epsilon_ap_reached) == (0.0, 0.0, 0.0)


def test_outputs_are_given_beside_the_distance() -> None:
    # Weights 1 and 3 over one input: the smaller goes, and sqrt((0 + 9) / 2) is left.
    weight = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    assert pruning_noise(weight, None, 0.5, replace(OPTIONS, draws=2), stream()).output_rms == pytest.approx(4.5**0.5)


def test_the_promise_by_hand() -> None:
    # 0.01 * 100^2 / (2 * 1e-3)
    assert promised_epsilon(0.01, 100, NoiseOptions(constant=2.0, delta_dp=1e-3)) == pytest.approx(50_000)


def test_draws_come_from_the_given_stream_alone() -> None:
    weight = gaussian_layer(3, 4, 1.0, stream())
    before = torch.random.get_rng_state()
    once = pruning_noise(weight, None, 0.5, replace(OPTIONS, draws=50), stream())
    assert once == pruning_noise(weight, None, 0.5, replace(OPTIONS, draws=50), stream())
    assert torch.equal(torch.random.get_rng_state(), before)
