"""Scenes: a small model, one client step on known images, and what the server then holds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_plugins import Facts, Observation
from priprune_plugins.generators import generator
from priprune_plugins.layout import Layout
from priprune_plugins.masks import applied, keep_highest


class Standardise(nn.Module):
    """Maps [0, 1] to about zero mean and unit deviation, as the host's models do."""

    def forward(self, images: Tensor) -> Tensor:
        return (images - 0.3) / 0.35


def mini() -> nn.Module:
    """conv5x5 8/16 with pooling, fc 128, 62 classes, on 1x28x28."""
    return nn.Sequential(
        Standardise(),
        nn.Conv2d(1, 8, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(784, 128),
        nn.ReLU(inplace=True),
        nn.Linear(128, 62),
    )


def he_weights(layout: Layout, seed: int) -> Tensor:
    """He-uniform weights, biases 0 and norm weights 1, as one flat vector."""
    draws = generator(seed, "init")
    parts = []
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        bound = (6.0 / shape[1:].numel()) ** 0.5 if len(shape) > 1 else 0.0
        centre = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
        parts.append(centre + (torch.rand(shape.numel(), generator=draws) * 2 - 1) * bound)
    return torch.cat(parts)


def digits(count: int, first: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images ``[count, 1, 28, 28]``, labels, and the mean image of digits that are not among the first 1500."""
    datasets = pytest.importorskip("sklearn.datasets")
    data = datasets.load_digits()
    pixels = torch.tensor(data.images / 16.0, dtype=torch.float32).unsqueeze(1)
    images = functional.interpolate(pixels, size=28, mode="bilinear").clamp_(0, 1)
    chosen = slice(first, first + count)
    return images[chosen], torch.tensor(data.target)[chosen], images[1500:].mean(0)


@dataclass
class Scene:
    """A server that prunes, and clients that make one SGD step on given images."""

    build: Callable[[], nn.Module]
    facts: Facts
    weights: Tensor
    mask: Tensor | None = None

    @property
    def broadcast(self) -> Tensor:
        return applied(self.weights, self.mask)

    def gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        """The client's gradient ``[D]`` at the broadcast, by plain autograd in training mode."""
        model = self.build().to(self.weights.dtype)
        parameters = self.facts.layout.unflatten(self.broadcast.clone().requires_grad_())
        logits = torch.func.functional_call(model, parameters, (images.to(self.weights),))
        grads = torch.autograd.grad(functional.cross_entropy(logits, labels), list(parameters.values()))
        return torch.cat([grad.flatten() for grad in grads])

    def observe(
        self,
        images: Tensor,
        labels: Tensor,
        client_id: int = 0,
        withhold: Callable[[Tensor], Tensor] | None = None,
    ) -> Observation:
        """What the server holds after one step; ``withhold(update)`` gives the coordinates that are not sent."""
        upload = self.broadcast - self.facts.lr * self.gradient(images, labels)
        upload = applied(upload, self.mask)
        if withhold is not None:
            upload = upload.masked_fill(withhold(upload - self.broadcast), 0.0)
        facts = replace(self.facts, batch_size=len(images))
        return Observation(
            broadcast=self.broadcast,
            server_weights=self.weights,
            mask=self.mask,
            upload=upload,
            extras={},
            buffers={},
            broadcast_buffers={},
            num_samples=len(images),
            round_idx=0,
            client_ids=(client_id,),
            facts=facts,
        )


def scene(
    build: Callable[[], nn.Module] = mini,
    image_shape: tuple[int, int, int] = (1, 28, 28),
    num_classes: int = 62,
    rate: float = 0.0,
    seed: int = 0,
    mean_image: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Scene:
    """A scene at initialisation, with one random base mask at ``rate``."""
    layout = Layout.of(build())
    mean = torch.full(image_shape, 0.3) if mean_image is None else mean_image
    facts = Facts(build, layout, image_shape, num_classes, 0.1, 1, 1, None, "fedavg", mean)
    weights = he_weights(layout, seed).to(dtype)
    scores = torch.rand(layout.num_parameters, generator=generator(seed, "base mask"))
    mask = keep_highest(scores, layout.prunable, rate) if rate else None
    return Scene(build, facts, weights, mask)


def withhold_largest(update: Tensor, layout: Layout, mask: Tensor | None, rate: float) -> Tensor:
    """The global share ``rate`` of the base-kept coordinates with the largest update, biases included."""
    candidates = torch.ones_like(update, dtype=torch.bool) if mask is None else mask
    return ~keep_highest(-update.abs(), candidates, rate) & candidates


def withhold_random(update: Tensor, layout: Layout, mask: Tensor | None, rate: float, seed: int = 0) -> Tensor:
    """A random share ``rate`` of the base-kept coordinates, biases included."""
    candidates = torch.ones_like(update, dtype=torch.bool) if mask is None else mask
    scores = torch.rand(update.numel(), generator=generator(seed, "withheld"))
    return ~keep_highest(scores, candidates, rate) & candidates


def psnr_db(guess: Tensor, truth: Tensor) -> float:
    """Mean over images of the peak signal-to-noise ratio, in dB, of images that are already paired."""
    mse = (guess - truth).square().flatten(1).mean(1)
    return float((-10 * mse.log10()).mean())


@pytest.fixture
def new_scene() -> Callable[..., Scene]:
    return scene


@pytest.fixture
def some_digits() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    return digits


@pytest.fixture
def withheld() -> dict[str, Callable[..., Tensor]]:
    return {"largest": withhold_largest, "random": withhold_random}


@pytest.fixture
def psnr() -> Callable[[Tensor, Tensor], float]:
    return psnr_db
