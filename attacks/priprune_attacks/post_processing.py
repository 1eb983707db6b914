"""A small network that sharpens reconstructions, trained on public images only."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_attacks.adam import Adam
from priprune_plugins.models.initialise import initialise

_CHANNELS = 32
_BATCH = 32
_LR = 2e-3
_MOST_NOISE = 0.15


class Sharpener(nn.Module):
    """Adds a correction of four 3x3 convolutions to images ``[N, C, H, W]``; the fresh network changes nothing."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        # Constructors draw weights that are overwritten here; the global generator must not notice.
        with torch.random.fork_rng(devices=[]):
            last = nn.Conv2d(_CHANNELS, channels, 3, padding=1)
            self.net = nn.Sequential(
                nn.Conv2d(channels, _CHANNELS, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
                nn.ReLU(),
                last,
            )
        initialise(self.net, "he", generator)
        nn.init.zeros_(last.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Return corrected images in [0, 1]."""
        corrected: Tensor = images + self.net(images)
        return corrected.clamp(0.0, 1.0)


def trained_sharpener(
    images: Tensor, degrade: Callable[[Tensor], Tensor], steps: int, generator: torch.Generator
) -> Sharpener:
    """Return a network that undoes ``degrade`` and noise of unknown strength, by mean squared error.

    Args:
        images: ``[N, C, H, W]`` public images in [0, 1]; the network is trained on their device.
        degrade: What the reconstructions have gone through.
        steps: Batches of 32.
        generator: CPU stream of the weights and of the draws.
    """
    model = Sharpener(images.shape[1], generator).to(images)
    parameters = list(model.parameters())
    optimisers = [Adam() for _ in parameters]
    for step in range(steps):
        truth = images[torch.randint(len(images), (_BATCH,), generator=generator).to(images.device)]
        loss = functional.mse_loss(model(_noisy(degrade(truth), generator)), truth)
        grads = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for adam, parameter, grad in zip(optimisers, parameters, grads, strict=True):
                adam.step_(parameter, grad, loss, _LR * (1.0 - step / steps))
    return model.requires_grad_(False)


def _noisy(images: Tensor, generator: torch.Generator) -> Tensor:
    strength = _MOST_NOISE * torch.rand(len(images), 1, 1, 1, generator=generator)
    noise = strength * torch.randn(images.shape, generator=generator)
    return (images + noise.to(images)).clamp(0.0, 1.0)
