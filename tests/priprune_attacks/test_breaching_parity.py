"""Our engine and our descent with breaching's settings against breaching itself, on the same tensors."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_attacks.adam import Adam
from priprune_attacks.gradients import FactoredGradients, TargetBatch, gradients_of
from priprune_attacks.objectives import cosine
from priprune_attacks.optimise import Descent, descend
from priprune_attacks.targets import Target
from priprune_plugins.layout import Layout
from priprune_plugins.models.initialise import initialise
from priprune_plugins.models.lenet import LeNetDLG
from priprune_plugins.models.small import Mini

ITERATIONS, SCALE = 100, 0.2


def padded_total_variation(images: Tensor) -> Tensor:
    """Breaching's prior for one image a row: zeros beyond the right and lower border, and beyond nothing else."""
    right = functional.pad(images, (0, 1)).diff(dim=-1).abs()
    down = functional.pad(images, (0, 0, 0, 1)).diff(dim=-2).abs()
    return (right + down + 2e-8).mean((-1, -2, -3)).sum(-1)


def step_decay(share: float) -> float:
    """Breaching's ``step-lr``: a tenth after 3/8, 5/8 and 7/8 of the steps, its divisors' roundings included."""
    milestones = [ITERATIONS // 2.667, ITERATIONS // 1.6, ITERATIONS // 1.142]
    return 0.1 ** sum(round(share * ITERATIONS) >= milestone for milestone in milestones)


class LossesOf:
    """Breaching's attack on one image, through its own classes."""

    def __init__(self, model: nn.Module, target: Tensor, layout: Layout, image: Tensor, label: Tensor) -> None:
        breaching = pytest.importorskip("breaching", reason="breaching is not installed: uv run --extra breaching")
        omegaconf = pytest.importorskip("omegaconf")
        config = breaching.get_attack_config(
            "invertinggradients", [f"optim.max_iterations={ITERATIONS}", "impl.dtype=double"]
        )
        self.attacker = breaching.attacks.prepare_attack(
            model, nn.CrossEntropyLoss(), config, {"device": image.device, "dtype": image.dtype}
        )
        channels = image.shape[1]
        for prior in self.attacker.regularizers:
            prior.groups, prior.weight = channels, prior.weight[:2].repeat(channels, 1, 1, 1)
        about = omegaconf.OmegaConf.create({"shape": list(image.shape[1:]), "modality": "vision"})
        self.payload = [{"parameters": list(model.parameters()), "buffers": [], "metadata": about}]
        known = {"num_data_points": 1, "labels": label, "local_hyperparams": None}
        gradients = list(layout.unflatten(target).values())
        self.shared = [{"gradients": gradients, "buffers": None, "metadata": known}]

    def from_start(self, start: Tensor) -> Tensor:
        """Return its total losses ``[iterations]``."""
        _, stats = self.attacker.reconstruct(self.payload, self.shared, server_secrets={}, initial_data=start)
        return torch.tensor(stats["Trial_0_Val"], dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("plugin", [LeNetDLG(), Mini()], ids=["lenet_dlg", "mini"])
def test_the_first_hundred_losses_are_breachings_own(plugin: LeNetDLG | Mini) -> None:
    draws = torch.Generator().manual_seed(0)
    channels = 3 if isinstance(plugin, LeNetDLG) else 1
    model = plugin.build((channels, 28, 28), 10)
    plugin.initialise(model, draws) if isinstance(plugin, LeNetDLG) else initialise(model, "he", draws)
    # In float32 rounding on either side flips the sign of a gradient near 0 now and then, and Adam makes a step of it.
    layout = Layout.of(model.double())
    image, start = torch.rand(2, 1, channels, 28, 28, generator=draws, dtype=torch.float64)
    label = torch.tensor([3])
    loss = functional.cross_entropy(model(image), label)
    flat = torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, list(model.parameters()))])
    theirs = LossesOf(model, flat, layout, image, label).from_start(start)

    engine = gradients_of(model.requires_grad_(False), layout, (channels, 28, 28), 10)
    assert isinstance(engine, FactoredGradients)
    targets = TargetBatch([Target(flat, flat, None)], layout)
    ours: list[Tensor] = []

    def total(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        # Labels are given: what a descent may move is what the loss depends on.
        distance = cosine(engine.products(images, labels.detach(), targets))
        value = distance + SCALE * padded_total_variation(images)
        ours.append(value.detach())
        return value, distance

    rule = Descent(ITERATIONS, 0.1, step_decay, partial(Adam, sign=True))
    labels = functional.one_hot(label, 10).double()[None, None]
    descend(total, start[None, None], labels, rule, lambda iteration, losses: None)
    torch.testing.assert_close(torch.stack(ours).flatten(), theirs, rtol=0, atol=1e-5)
