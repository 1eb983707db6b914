"""Uploads of single images for the attack benchmarks: what a server holds after one local step on each."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_plugins.data.digits import Digits
from priprune_plugins.generators import generator
from priprune_plugins.layout import Layout
from priprune_plugins.masks import applied, keep_highest
from priprune_plugins.messages import Facts, Observation
from priprune_plugins.models.build import ModelPlugin, build_model
from priprune_plugins.models.leaf import Conv2
from priprune_plugins.models.lenet import LeNetDLG

LR = 0.1
MEAN, STD = 0.3, 0.35


@dataclass(frozen=True)
class Net:
    """A network under attack and how long breaching is timed on it."""

    plugin: ModelPlugin
    channels: int
    side: int
    classes: int
    breaching_iterations: int

    def build(self) -> nn.Module:
        mean, std = (MEAN,) * self.channels, (STD,) * self.channels
        shape = (self.channels, self.side, self.side)
        return build_model(self.plugin, shape, self.classes, mean, std, None, generator(0, "init"))


NETS = {"conv2": Net(Conv2(), 1, 28, 62, 50), "lenet": Net(LeNetDLG(), 3, 32, 10, 400)}


class Bench:
    """Uploads of single images, and what attacks them."""

    def __init__(self, net: Net, device: torch.device) -> None:
        self.net = net
        data = Digits(size=net.side, num_classes=net.classes).load()
        images = data.train_images.expand(-1, net.channels, -1, -1).contiguous()
        self.images, self.labels = images.to(device), data.train_labels.to(device)
        self.model = net.build().to(device)
        mean = self.images.mean(0)
        self.facts = Facts(
            net.build,
            Layout.of(self.model),
            (net.channels, net.side, net.side),
            net.classes,
            LR,
            1,
            1,
            None,
            "fedavg",
            mean,
        )
        self.weights = torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])

    def observe(self, num_victims: int, rate: float = 0.0) -> list[Observation]:
        """Return what the server holds of the first victims, each after one step on its image."""
        scores = torch.rand(len(self.weights), generator=generator(0, "base mask")).to(self.weights.device)
        mask = keep_highest(scores, self.facts.layout.prunable.to(scores.device), rate) if rate else None
        sent = applied(self.weights, mask)
        return [self._observation(victim, sent, mask) for victim in range(num_victims)]

    def _observation(self, victim: int, sent: Tensor, mask: Tensor | None) -> Observation:
        point = sent.clone().requires_grad_()
        parameters = self.facts.layout.unflatten(point)
        logits = torch.func.functional_call(self.model, parameters, (self.images[victim : victim + 1],))
        loss = functional.cross_entropy(logits, self.labels[victim : victim + 1])
        (grad,) = torch.autograd.grad(loss, point)
        return Observation(
            broadcast=sent,
            server_weights=self.weights,
            mask=mask,
            upload=applied(sent - LR * grad, mask),
            extras={},
            buffers={},
            broadcast_buffers={},
            num_samples=1,
            round_idx=0,
            client_ids=(victim,),
            facts=self.facts,
            labels=self.labels[victim : victim + 1],
        )

    def psnr_db(self, guesses: Sequence[Tensor]) -> float:
        """Return the mean over the first images, one image a guess."""
        errors = [(guess[0] - self.images[victim]).square().mean() for victim, guess in enumerate(guesses)]
        return float((-10 * torch.stack(errors).log10()).mean())
