"""Theorem 4.2 of "Privacy-preserving Learning via Deep Net Pruning": a pruned layer beside a layer with noise.

Reference: Huang, Su, Ravi, Song, Arora, Li, "Privacy-preserving Learning via Deep Net Pruning", 2020,
arXiv:2003.01876, Definition 4.1, Theorem 4.2, Claims 4.3 and 4.4.

The theorem compares the pruned layer ``g(x) = relu(A' x + b)``, A' being A pruned by magnitude, with
``h(x) = relu(A x + b) + e``, ``e = Lap(1, sigma)^m * ((A' - A) x)``. It holds up to constants that the paper does not
give, so the promised epsilon is given for a constant of the caller's, and only the closeness of g and h is measured.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_plugins.masks import keep_highest

WIDTH_CONDITION = "cannot be evaluated: m = Omega(poly(1/eps_ap, log 1/delta_ap, log 1/delta_dp)), polynomial not given"


@dataclass(frozen=True)
class NoiseOptions:
    """What Theorem 4.2 leaves open.

    Args:
        noise_scale: Scale ``sigma`` of the Laplace noise, whose mean is 1.
        constant: The constant in ``sigma_A = O(eps_dp delta_dp / m^2)``; the paper gives none.
        delta_dp: ``delta_dp`` of the promised differential privacy.
        epsilon_ap: Distance of Definition 4.1 at which ``delta_ap`` is measured.
        delta_ap: Share of draws that may be further away, for the distance that is reported.
        directions: Inputs ``x`` sampled.
        draws: Draws of the noise for each input.
    """

    noise_scale: float = 1.0
    constant: float = 1.0
    delta_dp: float = 1e-5
    epsilon_ap: float = 0.1
    delta_ap: float = 0.05
    directions: int = 32
    draws: int = 200


@dataclass(frozen=True)
class LayerNoise:
    """Theorem 4.2 on one layer.

    Args:
        width: Outputs ``m``.
        inputs: Inputs ``d``.
        rate: Fraction of the weights that magnitude pruning removes.
        threshold: Largest weight removed, in magnitude: the theorem's ``a``.
        sigma_a: Standard deviation of the weights, the theorem's ``sigma_A``.
        output_rms: Root mean square of the pruned layer's outputs at the inputs sampled: what ``epsilon_ap`` is to be
            compared with.
        epsilon_dp: What the constant makes of the theorem's promise, ``sigma_A m^2 / (constant delta_dp)``.
        delta_ap: Share of draws further than ``epsilon_ap``, mean over inputs.
        delta_ap_worst: The same at the worst input sampled; the theorem speaks of every input.
        epsilon_ap_reached: Distance that a share ``1 - delta_ap`` of the draws keeps at the worst input sampled.
        width_condition: Why the theorem's condition on the width is not checked.
    """

    width: int
    inputs: int
    rate: float
    threshold: float
    sigma_a: float
    output_rms: float
    epsilon_dp: float
    delta_ap: float
    delta_ap_worst: float
    epsilon_ap_reached: float
    width_condition: str = WIDTH_CONDITION


def pruning_noise(
    weight: Tensor, bias: Tensor | None, rate: float, options: NoiseOptions, generator: torch.Generator
) -> LayerNoise:
    """Prune one layer by magnitude and measure how close it is to the layer with noise.

    A departure that cannot be avoided: the copy of the paper that this follows has lost symbols in the denominator of
    ``sigma_A = O(eps_dp delta_dp / ...)``. ``m^2`` is what the proof's two steps give, a sensitivity of order
    ``m sigma_A`` and a smallest noise of order ``delta_dp / m``.

    Args:
        weight: ``[m, d]`` the dense weights ``A``.
        bias: ``[m]``, or None for zeros.
        rate: Fraction of the weights removed, in [0, 1).
        options: Constants and sample sizes.
        generator: Stream of inputs and noise, on the weights' device.
    """
    width, inputs = weight.shape
    magnitudes = weight.abs().flatten()
    kept = keep_highest(magnitudes, torch.ones_like(magnitudes, dtype=torch.bool), rate)
    removed = magnitudes[~kept]
    pruned = torch.where(kept.view_as(weight), weight, 0.0)
    shift = weight.new_zeros(width) if bias is None else bias
    x = unit_inputs(options.directions, weight, generator)
    distances = noise_distances(x, weight, pruned, shift, options, generator)
    further = (distances > options.epsilon_ap).double().mean(1)
    sigma_a = float(weight.std(correction=0))
    return LayerNoise(
        width=width,
        inputs=inputs,
        rate=rate,
        threshold=float(removed.max()) if removed.numel() else 0.0,
        sigma_a=sigma_a,
        output_rms=float(torch.relu(x @ pruned.mT + shift).square().mean().sqrt()),
        epsilon_dp=promised_epsilon(sigma_a, width, options),
        delta_ap=float(further.mean()),
        delta_ap_worst=float(further.max()),
        epsilon_ap_reached=float(distances.quantile(1 - options.delta_ap, dim=1).max()),
    )


def gaussian_layer(width: int, inputs: int, sigma_a: float, generator: torch.Generator) -> Tensor:
    """Return weights as the theorem has them, ``[m, d]`` independent draws of ``N(0, sigma_a^2)``, in float64."""
    return sigma_a * torch.randn(width, inputs, generator=generator, device=generator.device, dtype=torch.float64)


def promised_epsilon(sigma_a: float, width: int, options: NoiseOptions) -> float:
    """Return ``eps_dp`` for which ``sigma_A = constant * eps_dp * delta_dp / m^2`` holds."""
    return sigma_a * width**2 / (options.constant * options.delta_dp)


def unit_inputs(count: int, weight: Tensor, generator: torch.Generator) -> Tensor:
    """Return inputs as the theorem allows, ``||x||_2 = 1`` and ``x >= 0``, uniform on that part of the sphere.

    Args:
        count: How many.
        weight: ``[m, d]``; its device and dtype are followed.
        generator: Stream of the inputs.

    Returns:
        ``[count, d]``.
    """
    size = (count, weight.shape[1])
    x = torch.randn(size, generator=generator, device=weight.device, dtype=weight.dtype).abs()
    lengths: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / lengths


def noise_distances(
    x: Tensor, weight: Tensor, pruned: Tensor, bias: Tensor, options: NoiseOptions, generator: torch.Generator
) -> Tensor:
    """Return samples of Definition 4.1's distance ``||g(x) - h(x)||_2 / sqrt(m)``, shape ``[inputs, draws]``.

    Args:
        x: ``[inputs, d]``.
        weight: ``[m, d]`` dense weights.
        pruned: ``[m, d]`` the same with the removed ones 0.
        bias: ``[m]``.
        options: Scale of the noise and number of draws.
        generator: Stream of the noise.
    """
    gap = torch.relu(x @ weight.mT + bias) - torch.relu(x @ pruned.mT + bias)  # [inputs, m]
    change = x @ (pruned - weight).mT
    return torch.stack([_distances(*pair, options, generator) for pair in zip(gap, change, strict=True)])


def _distances(gap: Tensor, change: Tensor, options: NoiseOptions, generator: torch.Generator) -> Tensor:
    noise = 1.0 + options.noise_scale * _laplace(options.draws, gap, generator)  # [draws, m]
    distances: Tensor = torch.linalg.vector_norm(gap + noise * change, dim=1)
    return distances / math.sqrt(gap.numel())


def _laplace(draws: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Return Laplace noise of mean 0 and scale 1, ``[draws, m]``: the difference of two exponential draws."""
    both = like.new_empty(2, draws, like.numel()).exponential_(generator=generator)
    return both[0] - both[1]
