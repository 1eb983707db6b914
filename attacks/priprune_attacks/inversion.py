"""From what a layer of a model says about images back to the images.

Reference: Mahendran, Vedaldi, "Understanding Deep Image Representations by Inverting Them", CVPR 2015,
arXiv:1412.0035, equations 1 and 2; as an attack: "Privacy-preserving Learning via Deep Net Pruning", 2020,
arXiv:2003.01876, section 5.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from priprune_attacks.optimise import Descended, Descent, Report, descend
from priprune_attacks.priors import Prior, total_variation
from priprune_attacks.representations import Side, mixes_its_batch, representation, representations

Distance = Literal["l2", "cosine"]
# A fit with freedom left explains a little of the error too.
_OF_THE_ERROR = 0.9
# The learning rate is whole from this strength of the prior on, and falls with its root to this share.
_FULL_LR_FROM = 1e1
_LEAST_LR = 0.1


@dataclass(frozen=True, eq=False)
class Inversion:
    """How a representation is inverted.

    Args:
        strengths: Of the prior, one stage each, strongest first: a stage goes on from the images of the one before.
            What a representation does not tell then stays as smooth as the strong prior made it, and what it does tell
            is fitted as closely as the weak one lets it. With a weak prior alone a layer that loses information is
            fitted by noise: 17 dB in place of 25 for the input of `mini`'s first Linear layer.
        descent: Iterations of each stage and optimiser; the learning rate falls with the strength from stage to stage.
        prior: What the strengths multiply.
        distance: ``l2``: squared distance over the squared norm of the representation; ``cosine``: one minus the
            cosine, for a representation of unknown scale.
        margin: The stage with the strongest prior is taken whose distance is at most this times the least of all, or
            no more than the representation errs itself (Morozov's discrepancy principle).
    """

    strengths: Sequence[float] = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 0.0)
    descent: Descent = field(default_factory=lambda: Descent(150))
    prior: Prior = total_variation
    distance: Distance = "l2"
    margin: float = 3.0

    def stages(self) -> list[tuple[float, Descent]]:
        """Return each stage's strength and descent."""
        falling = sorted(self.strengths, reverse=True)
        scales = [max(_LEAST_LR, min(1.0, (strength * _FULL_LR_FROM) ** 0.5)) for strength in falling]
        # The first stage has to travel whatever its strength.
        scales[0] = 1.0
        rates = [self.descent.lr * scale for scale in scales]
        return [(strength, replace(self.descent, lr=lr)) for strength, lr in zip(falling, rates, strict=True)]


@dataclass(frozen=True, eq=False)
class Inverted:
    """Images whose representation is near the given ones.

    Args:
        images: ``[V, B, C, H, W]`` in [0, 1].
        distance: ``[V]`` of the representation, without the prior.
        trace: ``[iterations, V]`` distance over the iterations of all stages, of the start taken.
    """

    images: Tensor
    distance: Tensor
    trace: Tensor


def invert_representation(
    model: nn.Module,
    layer: str,
    representation: Tensor,
    starts: Tensor,
    inversion: Inversion,
    side: Side = "output",
    known: Tensor | None = None,
    error: Tensor | None = None,
    report: Report = lambda iteration, losses: None,
) -> Inverted:
    """Return images whose representation at ``layer`` is ``representation``, all rows in one batch.

    Only a forward and a single backward pass up to the layer are needed, no second derivative. Departures from
    Mahendran and Vedaldi: Adam with cosine decay instead of momentum; total variation in its anisotropic form with
    exponent 1, as in the attack's paper; no alpha-norm, because the range is kept by clamping.

    Args:
        model: The model, its weights known.
        layer: Name of the module.
        representation: ``[V, B, ...]``: V rows of B images each.
        starts: ``[V, R, B, C, H, W]`` in [0, 1], R starts for each row.
        inversion: Stages, prior and distance.
        side: Whether ``representation`` is the input or the output of the layer.
        known: Bool, of a shape that broadcasts to ``representation``: features that are compared; None = all.
        error: ``[V]`` expected squared error of each row's representation, relative to its squared norm; None = 0.
        report: Called with the number of every iteration of a stage and its distances ``[V, R]``.
    """
    target = representation.unsqueeze(1).flatten(3)  # [V, 1, B, F]
    weight = torch.ones_like(target) if known is None else known.expand_as(representation).unsqueeze(1).flatten(3)
    weight = weight.to(target.dtype)
    mixing = representation.shape[1] > 1 and mixes_its_batch(model, layer, starts.shape[3:], side)
    compare = _l2 if inversion.distance == "l2" else _cosine
    no_labels, images = starts.new_zeros(*starts.shape[:3], 0), starts
    done: list[Descended] = []
    for strength, descent in inversion.stages():

        def loss(images: Tensor, _: Tensor, strength: float = strength) -> tuple[Tensor, Tensor]:
            reached = representations(model, layer, images, side, mixing).flatten(3)
            distance = compare(reached * weight, target * weight)
            return distance + strength * inversion.prior(images), distance

        done.append(descend(loss, images, no_labels, descent, report))
        images = done[-1].images
    return _chosen(done, inversion.margin, starts.new_zeros(len(starts)) if error is None else error)


def _l2(reached: Tensor, target: Tensor) -> Tensor:
    """Return the squared distance over the target's squared norm, mean over images: ``[V, R]``."""
    tiny = torch.finfo(target.dtype).tiny
    return ((reached - target).square().sum(-1) / target.square().sum(-1).clamp_min(tiny)).mean(-1)


def _cosine(reached: Tensor, target: Tensor) -> Tensor:
    """Return one minus the cosine, mean over images: ``[V, R]``."""
    return (1.0 - torch.cosine_similarity(reached, target, dim=-1)).mean(-1)


def _chosen(done: Sequence[Descended], margin: float, error: Tensor) -> Inverted:
    """Take each row's first stage that fits closely enough, and of its starts the closest."""
    images = torch.stack([stage.images for stage in done], 1)  # [V, S, R, B, C, H, W]
    match = torch.stack([stage.match.where(stage.total.isfinite(), torch.inf) for stage in done], 1)  # [V, S, R]
    closest, start = match.min(2)  # [V, S]
    enough = closest <= torch.maximum(margin * closest.amin(1), _OF_THE_ERROR * error).unsqueeze(1)
    stage = enough.int().argmax(1)
    rows = torch.arange(len(stage), device=stage.device)
    chosen = start[rows, stage]
    trace = torch.cat([stage.trace for stage in done])  # [iterations, V, R]
    return Inverted(images[rows, stage, chosen], closest[rows, stage], trace[:, rows, chosen])


def activations(model: nn.Module, layer: str, image: Tensor) -> int:
    """Return how many numbers the leaf modules up to ``layer`` give for one image ``[C, H, W]``."""
    sizes: list[int] = [image.numel()]
    leaves = [module for module in model.modules() if not any(module.children())]
    hooks = [leaf.register_forward_hook(lambda _, __, output: sizes.append(output.numel())) for leaf in leaves]
    try:
        with torch.no_grad():
            representation(model, layer, image.expand(2, -1, -1, -1))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes) // 2
