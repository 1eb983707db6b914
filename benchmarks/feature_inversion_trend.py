"""Figure 2 of "Privacy-preserving Learning via Deep Net Pruning" (2020, arXiv:2003.01876) on LeNet-5 and MNIST.

A LeNet-5 is trained, then pruned by magnitude in rounds of 20% of the surviving weights, each round retrained, so that
the density is k = 0.8^n. At each density the outputs of its five layers for test digits, and that of the first pooling,
are inverted by what ``feature_inversion`` runs. The tables give PSNR, SSIM and NMI at 16 levels, means over the digits,
beside the model's test accuracy and the floors. Departures: shorter training than the paper's 20 and 5 epochs unless
asked; the strength of the prior, which the paper does not give, falls in stages and is chosen by the attack's own rule.

What reproduces: inversion gets worse with depth; and behind the convolutions, where the picture is still there to be
lost, it gets worse with pruning, if each layer is pruned to the density. What does not: the bare output of the first
convolution gives its input back at every density; one threshold for all layers (``--global``) leaves the convolutions
nearly dense and nothing worsens; the fully connected layers stay near the floors, dense or pruned.

Run: ``uv run python benchmarks/feature_inversion_trend.py --mnist ../shared/data/mnist [--picture trend.png]``
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from priprune_attacks.inversion import Inversion, invert_representation
from priprune_attacks.optimise import Descent
from priprune_attacks.representations import representation
from priprune_plugins.data.images import ImageData
from priprune_plugins.data.mnist import Mnist
from priprune_plugins.generators import generator
from priprune_plugins.layout import Layout
from priprune_plugins.masks import apply_, keep_highest
from priprune_plugins.models.build import build_model
from priprune_plugins.models.lenet import LeNet5
from priprune_plugins.privacy.image_quality import psnr_db, ssim
from priprune_plugins.privacy.nmi import nmi
from priprune_plugins.report.pictures import picture

LAYERS = ("conv1", "pool1", "conv2", "fc1", "fc2", "fc3")
LR, MOMENTUM, BATCH, STEP = 0.05, 0.9, 256, 0.2


@dataclass(frozen=True)
class Row:
    """Mean figures of one layer at one density."""

    layer: str
    density: float
    accuracy: float
    psnr_db: float
    ssim: float
    nmi: float


class Trained:
    """A LeNet-5 whose mask stays as it is between prunings."""

    def __init__(self, data: ImageData, seed: int, device: torch.device, per_layer: bool) -> None:
        stream = generator(seed, "init")
        net = build_model(LeNet5(), data.image_shape, data.num_classes, data.mean, data.std, "he", stream)
        self.net, self.data, self.per_layer = net.to(device), data, per_layer
        self.layout = Layout.of(self.net)
        self.mask = torch.ones_like(self.layout.prunable)
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=LR, momentum=MOMENTUM)
        self.order = generator(seed, "order")

    def train(self, passes: float) -> None:
        """Train for ``passes`` over the training images."""
        images, labels = self.data.train_images, self.data.train_labels
        total = round(passes * len(images))
        drawn = torch.cat([torch.randperm(len(images), generator=self.order) for _ in range(int(passes) + 1)])[:total]
        for batch in drawn.split(BATCH):
            pixels, truth = (part[batch].to(self.layout.device) for part in (images, labels))
            self.optimiser.zero_grad()
            functional.cross_entropy(self.net(pixels), truth).backward()
            self.optimiser.step()
            self.apply()

    def prune(self, density: float) -> None:
        """Keep the share ``density`` of all prunable weights, those of the largest magnitude."""
        scores = torch.cat([parameter.detach().abs().flatten() for parameter in self.net.parameters()])
        if not self.per_layer:
            self.mask = keep_highest(scores.where(self.mask, -1.0), self.layout.prunable, 1.0 - density)
        else:
            parts = zip(
                *(self.layout.layers(v) for v in (scores.where(self.mask, -1.0), self.layout.prunable)), strict=True
            )
            self.mask = torch.cat([keep_highest(score, prunable, 1.0 - density) for score, prunable in parts])
        self.apply()

    def apply(self) -> None:
        """Zero the pruned weights."""
        with torch.no_grad():
            for parameter, mask in zip(self.net.parameters(), self.layout.unflatten(self.mask).values(), strict=True):
                apply_(parameter, mask)

    def accuracy(self) -> float:
        """Return the test accuracy."""
        with torch.no_grad():
            logits = torch.cat([self.net(part.to(self.layout.device)) for part in self.data.test_images.split(1000)])
        return float((logits.argmax(1).cpu() == self.data.test_labels).double().mean())


def invert(net: nn.Module, layer: str, truth: Tensor, mean_image: Tensor, iterations: int, seed: int) -> Tensor:
    """Return the images found behind the output of ``layer`` for ``truth [N, C, H, W]``."""
    noise = torch.rand(len(truth), 1, *truth.shape[1:], generator=generator(seed, "starts", layer)).to(truth)
    near_mean = (mean_image.to(truth) + 0.02 * noise).clamp(0.0, 1.0)
    name = f"net.{layer}"
    with torch.no_grad():
        sent = representation(net, name, truth)
    inversion = Inversion(descent=Descent(iterations, 0.1))
    starts = torch.stack([near_mean, noise], 1)
    return invert_representation(net, name, sent.unsqueeze(1), starts, inversion).images[:, 0]


def trend(
    data: ImageData,
    prunings: Sequence[int],
    passes: float,
    retrain: float,
    victims: int,
    iterations: int,
    seed: int = 0,
    device: torch.device | None = None,
    per_layer: bool = True,
    layers: Sequence[str] = LAYERS,
) -> tuple[list[Row], dict[tuple[str, int], Tensor]]:
    """Return a row per layer and density, and the images found, keyed by layer and number of prunings.

    Args:
        data: MNIST.
        prunings: Numbers n of prunings to stop at, rising; the density is 0.8^n.
        passes: Epochs before the first pruning.
        retrain: Epochs after each.
        victims: Test digits that are inverted.
        iterations: Steps of each stage of the inversion.
        seed: Seed of weights, order and starts.
        device: Where to work.
        per_layer: Prune each layer to the density, or all weights together.
        layers: Layers whose output is inverted.
    """
    trained = Trained(data, seed, device or torch.device("cpu"), per_layer)
    trained.train(passes)
    truth = data.test_images[:victims].to(trained.layout.device)
    mean_image = data.test_images.mean(0)
    rows, pictures = [], {}
    for pruned in range(max(prunings) + 1):
        if pruned:
            trained.prune((1.0 - STEP) ** pruned)
            trained.train(retrain)
        if pruned not in prunings:
            continue
        accuracy = trained.accuracy()
        trained.net.requires_grad_(False)
        for layer in layers:
            found = invert(trained.net, layer, truth, mean_image, iterations, seed)
            figures = (float(measure(truth, found).mean()) for measure in (psnr_db, ssim, nmi))
            rows.append(Row(layer, (1.0 - STEP) ** pruned, accuracy, *figures))
            pictures[layer, pruned] = found.cpu()
        trained.net.requires_grad_()
    return rows, pictures


def draw(truth: Tensor, pictures: dict[tuple[str, int], Tensor], path: Path) -> None:
    """Write the figure: a row per layer, a column per density, the first digit of each; the truth on the left."""
    layers = list(dict.fromkeys(layer for layer, _ in pictures))
    prunings = list(dict.fromkeys(pruned for _, pruned in pictures))
    tile = picture(truth[0])
    sheet = Image.new("L", ((len(prunings) + 1) * tile.width, len(layers) * tile.height))
    for row, layer in enumerate(layers):
        columns = [truth[0], *(pictures[layer, pruned][0] for pruned in prunings)]
        for column, image in enumerate(columns):
            sheet.paste(picture(image), (column * tile.width, row * tile.height))
    sheet.save(path, format="PNG", optimize=True)


def table(rows: Sequence[Row], figure: str, digits: int) -> str:
    """Return one figure as a Markdown table: layers down, densities across."""
    densities = list(dict.fromkeys(row.density for row in rows))
    lines = [f"| {figure} | " + " | ".join(f"k={density:.3f}" for density in densities) + " |"]
    lines.append("|---" * (len(densities) + 1) + "|")
    for layer in dict.fromkeys(row.layer for row in rows):
        cells = [f"{getattr(row, figure):.{digits}f}" for row in rows if row.layer == layer]
        lines.append(f"| {layer} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", default="../shared/data/mnist")
    parser.add_argument("--prunings", type=int, nargs="+", default=[0, 1, 2, 3, 5, 7, 10, 12, 15])
    parser.add_argument("--passes", type=float, default=2.0)
    parser.add_argument("--retrain", type=float, default=0.25)
    parser.add_argument("--victims", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--global", dest="per_layer", action="store_false", help="one threshold for all layers")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    data, started = Mnist(options.mnist).load(), time.process_time()
    arguments = (options.passes, options.retrain, options.victims, options.iterations, options.seed)
    rows, pictures = trend(data, options.prunings, *arguments, torch.device(options.device), options.per_layer)
    truth = data.test_images[: options.victims]
    accuracies = dict.fromkeys((row.density, row.accuracy) for row in rows)
    print("accuracy: " + ", ".join(f"k={density:.3f} {accuracy:.3f}" for density, accuracy in accuracies))
    for name, guess in {
        "mean image": data.test_images.mean(0).expand_as(truth),
        "black": torch.zeros_like(truth),
    }.items():
        print(f"floor, {name}: {float(psnr_db(truth, guess).mean()):.1f} dB, NMI {float(nmi(truth, guess).mean()):.3f}")
    for figure, digits in (("psnr_db", 1), ("ssim", 3), ("nmi", 3)):
        print(table(rows, figure, digits))
    print(f"{time.process_time() - started:.0f} CPU-s")
    if options.picture:
        draw(truth, pictures, options.picture)


if __name__ == "__main__":
    main()
