"""What the layer that gives the logits tells: its gradient in one upload, and what public images do to it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from priprune_attacks.shared_model import last_linear
from priprune_attacks.starts import near_mean
from priprune_attacks.targets import Target
from priprune_plugins import Facts, LabelledSet

_PROBES = 64
_MOST_PUBLIC = 256
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class HeadGradient:
    """The last layer's part of a target.

    Args:
        logits: ``[K]`` mean loss gradient at the logits, 0 where unknown.
        known: ``[K]`` bool; a class is unknown whose bias entry is withheld and whose row holds nothing but zeros.
        rows: ``[K, I]`` gradient of the weight, 0 where not compared.
        seen: ``[K, I]`` bool, what is compared of it.
    """

    logits: Tensor
    known: Tensor
    rows: Tensor
    seen: Tensor


@dataclass(frozen=True, eq=False)
class LastLayer:
    """The layer that gives the logits, and what a public forward pass says about it.

    Args:
        weight: Position of its weight ``[K, I]`` in the flat vector.
        bias: Position of its bias ``[K]``, or None.
        module: The layer itself, at the victims' weights.
        softmax: ``[K]`` mean class probabilities on public images.
        features: ``[I]`` mean input of the layer on public images.
        spread: ``[J, I]`` deviations of public images' inputs from the mean of their class; None without a public set,
            because noise around the mean image spreads less than images do.
        rectified: Whether the layer's inputs are never negative.
    """

    weight: slice
    bias: slice | None
    module: nn.Linear
    softmax: Tensor
    features: Tensor
    spread: Tensor | None
    rectified: bool

    @classmethod
    def of(
        cls, model: nn.Module, facts: Facts, generator: torch.Generator, public: LabelledSet | None = None
    ) -> "LastLayer | None":
        """Return it, or None where no Linear layer has one output per class.

        Args:
            model: At the victims' weights.
            facts: Public facts.
            generator: Stream of the noise around the mean image, which stands in for a public set.
            public: The server's public set, or None.
        """
        name = last_linear(model, facts.num_classes)
        if name is None:
            return None
        images = near_mean(facts, _PROBES, generator) if public is None else public.images[:_MOST_PUBLIC]
        inputs, softmax = _probed(model, name, images)
        slices = dict(zip(facts.layout.names, facts.layout.slices, strict=True))
        module = model.get_submodule(name)
        assert isinstance(module, nn.Linear)
        return cls(
            weight=slices[f"{name}.weight"],
            bias=slices.get(f"{name}.bias"),
            module=module,
            softmax=softmax.mean(0),
            features=inputs.mean(0),
            spread=None if public is None else _within_classes(inputs, public.labels[:_MOST_PUBLIC]),
            rectified=bool((inputs >= 0).all()),
        )

    def probabilities(self, features: Tensor) -> Tensor:
        """Return class probabilities ``[..., K]`` of features ``[..., I]``."""
        logits: Tensor = self.module(features)
        return logits.softmax(-1)

    def gradient(self, target: Target) -> HeadGradient:
        """Return this layer's part of ``target``.

        A withheld bias entry is read from its row of the weight gradient, ``g_k`` times the features, over those
        entries of the row that are there; the scale comes from the classes that have both.
        """
        rows = target.gradient[self.weight].view(self.softmax.numel(), -1)
        seen = _seen(target, self.weight).view_as(rows)
        told = (rows != 0).any(1)
        from_rows = rows.sum(1) / (seen * self.features).sum(1).clamp_min(_TINY)
        if self.bias is None:
            return HeadGradient(from_rows.where(told, torch.zeros_like(from_rows)), told, rows, seen)
        bias, sent = target.gradient[self.bias], _seen(target, self.bias)
        both = sent & told
        fit = (bias * from_rows)[both].sum() / from_rows[both].square().sum()
        scale = torch.where(fit.isfinite() & (fit > 0), fit, 1.0)
        known = sent | told
        logits = torch.where(sent, bias, scale * from_rows).where(known, torch.zeros_like(bias))
        return HeadGradient(logits, known, rows, seen)


def _seen(target: Target, part: slice) -> Tensor:
    if target.mask is None:
        return torch.ones_like(target.gradient[part], dtype=torch.bool)
    return target.mask[part]


def _within_classes(inputs: Tensor, labels: Tensor) -> Tensor | None:
    """Return up to 64 deviations ``[J, I]`` from the mean of a class with two or more images, or None without any."""
    members = torch.nn.functional.one_hot(labels).to(inputs)  # [J, K]
    sizes = members.sum(0)
    means = members.T @ inputs / sizes.clamp_min(1.0).unsqueeze(1)
    size = sizes[labels]
    # A mean of n images takes 1 / n of the variance with it.
    deviations = (inputs - means[labels]) * (size / (size - 1.0).clamp_min(1.0)).sqrt().unsqueeze(1)
    chosen = deviations[size > 1.0][:_PROBES]
    return chosen if len(chosen) else None


def _probed(model: nn.Module, name: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last layer's inputs ``[J, I]`` and class probabilities ``[J, K]`` on public images."""
    taken: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_hook(lambda _, inputs, __: taken.append(inputs[0]))
    try:
        with torch.no_grad():
            logits = model(images.to(next(model.parameters())))
    finally:
        hook.remove()
    return taken[-1].flatten(0, -2), logits.softmax(-1)
