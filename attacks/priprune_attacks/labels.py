"""Label recovery: how many images of each class are behind a gradient, from the last layer alone.

For cross-entropy the gradient of the last bias is ``g_k = mean softmax_k - n_k / B``, so that ``n_k = B (mean
softmax_k - g_k)``. The mean softmax is not known to the server; a forward pass on public noise stands in for it,
which is exact after rounding on fresh models. On trained ones it misleads, so what holds for any model goes first: a
class whose ``g_k`` is negative is there at least ``ceil(-B g_k)`` times, which at B = 1 is the rule of iDLG (Zhao,
Mopuri, Bilen 2020, arXiv:2001.02610).
"""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from priprune_attacks.shared_model import last_linear
from priprune_attacks.starts import near_mean
from priprune_attacks.targets import Target
from priprune_plugins import Facts

_PROBES = 64
# A bias gradient is a difference of float32 weights divided by the learning rate: no zero is exact.
_NOISE = 1e-3
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class LastLayer:
    """What a public forward pass says about the layer that gives the logits.

    Args:
        weight: Position of its weight ``[K, I]`` in the flat vector.
        bias: Position of its bias ``[K]``, or None.
        softmax: ``[K]`` mean class probabilities on public images.
        features: ``[I]`` mean input of the layer on public images.
    """

    weight: slice
    bias: slice | None
    softmax: Tensor
    features: Tensor

    @classmethod
    def of(cls, model: nn.Module, facts: Facts, generator: torch.Generator) -> "LastLayer | None":
        """Return it, or None where no Linear layer has one output per class."""
        name = last_linear(model, facts.num_classes)
        if name is None:
            return None
        softmax, features = _probed(model, name, facts, generator)
        slices = dict(zip(facts.layout.names, facts.layout.slices, strict=True))
        return cls(slices[f"{name}.weight"], slices.get(f"{name}.bias"), softmax, features)

    @property
    def num_classes(self) -> int:
        return int(self.softmax.numel())

    def logit_gradient(self, target: Target) -> tuple[Tensor, Tensor]:
        """Return ``g [K]``, the mean loss gradient at the logits, and ``known [K]`` bool.

        A withheld bias entry is read from its row of the weight gradient, ``g_k`` times the features, over those
        entries of the row that are there; the scale comes from the classes that have both. A class is unknown whose
        bias entry is withheld and whose row holds nothing but zeros.
        """
        rows = target.gradient[self.weight].view(self.num_classes, -1)
        told = (rows != 0).any(1)
        features = (self._seen(target, self.weight).view_as(rows) * self.features).sum(1)
        from_rows = rows.sum(1) / features.clamp_min(_TINY)
        if self.bias is None:
            return from_rows, told
        bias, sent = target.gradient[self.bias], self._seen(target, self.bias)
        both = sent & told
        fit = (bias * from_rows)[both].sum() / from_rows[both].square().sum()
        scale = torch.where(fit.isfinite() & (fit > 0), fit, 1.0)
        return torch.where(sent, bias, scale * from_rows), sent | told

    def _seen(self, target: Target, part: slice) -> Tensor:
        if target.mask is None:
            return torch.ones_like(target.gradient[part], dtype=torch.bool)
        return target.mask[part]


def count_labels(last: LastLayer | None, target: Target, num_images: int) -> Tensor | None:
    """Return ``[B]`` int64 labels, sorted, or None where the last layer does not tell them.

    None means that the labels have to be searched with the images (``joint``): there is no last Linear layer, or two
    or more classes are entirely withheld and the others do not account for all ``B`` images. One class that is entirely
    withheld takes what is left.
    """
    if last is None:
        return None
    gradient, known = last.logit_gradient(target)
    wanted = num_images * (last.softmax - gradient).where(known, torch.zeros_like(gradient))
    least = (-num_images * (gradient + _NOISE)).ceil().clamp(0, num_images).where(known, torch.zeros_like(gradient))
    unknown = torch.nonzero(~known).squeeze(1)
    if unknown.numel() == 0:
        return _as_labels(_filled_up(least, wanted, known, num_images))
    counts = torch.maximum(least, wanted.round())
    missing = num_images - counts.sum()
    if missing > 0:
        if unknown.numel() > 1:
            return None
        counts[unknown] = missing
    return _as_labels(_filled_up(counts, wanted, known, num_images))


def _as_labels(counts: Tensor) -> Tensor:
    return torch.arange(counts.numel(), device=counts.device).repeat_interleave(counts.long())


def _filled_up(counts: Tensor, wanted: Tensor, known: Tensor, num_images: int) -> Tensor:
    """Give what is left, image by image, to the known class that lacks most; take from the one with too many."""
    counts = counts.clone()
    while (total := int(counts.sum())) != num_images:
        lack = wanted - counts
        if total < num_images:
            counts[lack.where(known, -inf).argmax()] += 1
        else:
            counts[lack.where(counts > 0, inf).argmin()] -= 1
    return counts


def _probed(model: nn.Module, name: str, facts: Facts, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the mean softmax and the mean features of the last layer on public images."""
    taken: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_hook(lambda _, inputs, __: taken.append(inputs[0]))
    try:
        with torch.no_grad():
            logits = model(near_mean(facts, _PROBES, generator).to(next(model.parameters())))
    finally:
        hook.remove()
    return logits.softmax(-1).mean(0), taken[-1].flatten(0, -2).mean(0)
