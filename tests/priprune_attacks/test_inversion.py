"""Inversion of a representation."""

import torch
from torch import Tensor, nn

from priprune_attacks.inversion import Inversion, Inverted, invert_representation
from priprune_attacks.optimise import Descent

IMAGES = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
    return model.requires_grad_(False)


def inverted(values: Tensor, strengths: tuple[float, ...], known: Tensor | None = None, error: float = 0.0) -> Inverted:
    starts = torch.full((len(values), 1, 1, 1, 6, 6), 0.5)
    rule = Inversion(strengths, Descent(200, 0.1))
    return invert_representation(
        net(), "3", values.unsqueeze(1), starts, rule, "input", known, torch.full((len(values),), error)
    )


def test_known_features_give_the_images_back() -> None:
    found = inverted(net()[:3](IMAGES), (0.0,))
    torch.testing.assert_close(found.images[:, 0], IMAGES, rtol=0, atol=1e-3)
    assert float(found.distance.max()) < 1e-6
    assert found.trace.shape == (200, 3)


def test_unknown_features_are_not_compared() -> None:
    values = net()[:3](IMAGES)
    known = torch.ones(288, dtype=torch.bool)
    known[::4] = False
    values[:, ::4] = 9.0
    torch.testing.assert_close(inverted(values, (0.0,), known).images[:, 0], IMAGES, rtol=0, atol=1e-2)


def test_exact_features_are_fitted_exactly_and_noisy_ones_get_the_prior() -> None:
    values = net()[:3](IMAGES)
    assert float(inverted(values, (0.0, 0.3)).distance.max()) < 1e-6
    noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(1))
    error = 0.3
    noisy = values + error**0.5 * values.norm(dim=1, keepdim=True) * noise / noise.norm(dim=1, keepdim=True)
    close, smooth = inverted(noisy, (0.0,)), inverted(noisy, (0.0, 0.3), error=error)
    assert bool((smooth.distance > close.distance).all())
    assert bool((smooth.distance <= error).all())
