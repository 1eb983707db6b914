"""One descent step of a client's preferences: one pass over the flat vector in parts that stay in a core's cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from priprune_defenses.alpha import Objective, Pulled
from priprune_plugins import Layout
from priprune_plugins.masks import num_kept

# A layer whose sizes sum to less has no gradient to speak of, and its inverse would overflow float32.
_NO_GRADIENT = 1e-30


@dataclass(frozen=True, eq=False)
class Pull:
    """What the accuracy term needs: where a client's own weights differ from the broadcast, and the noise.

    Args:
        broadcast: ``[D]`` the broadcast of this round.
        own: ``[D]`` the client's weights after its last participation.
        noise: One tensor of standard logistic draws over ``tau`` per part of the flat vector.
    """

    broadcast: Tensor
    own: Tensor
    noise: Sequence[Tensor]


class Layer(NamedTuple):
    """One layer, cut.

    Args:
        whole: Where the layer lies in the flat vector.
        parts: The same in slices of bounded length.
    """

    whole: slice
    parts: tuple[slice, ...]


def cut(layout: Layout, size: int) -> list[Layer]:
    """Return each layer cut into slices of at most ``size`` coordinates of the flat vector."""
    return [
        Layer(
            layer,
            tuple(slice(start, min(start + size, layer.stop)) for start in range(layer.start, layer.stop, size)),
        )
        for layer in layout.slices
    ]


def layer_sizes(layout: Layout, mask: Tensor | None) -> list[int]:
    """Return ``N_l``: how many coordinates of each layer the base mask keeps."""
    return list(layout.sizes) if mask is None else [num_kept(part) for part in layout.layers(mask)]


def descend_(
    objective: Objective,
    preference: Tensor,
    grad: Tensor | Sequence[Tensor],
    mask: Tensor | None,
    layers: Sequence[Layer],
    sizes: Sequence[int],
    lr: float,
    pull: Pull | None,
) -> None:
    """Move ``preference`` by ``-lr * dL/dpreference``, in place.

    Args:
        objective: The loss.
        preference: ``[D]``.
        grad: ``[D]`` dense gradient of the training loss, or the same by layer, ``[size]`` each.
        mask: ``[D]`` bool base mask, or None; pruned coordinates count in no mean and do not move.
        layers: Of :func:`cut`.
        sizes: ``N_l`` of each layer, of :func:`layer_sizes`.
        lr: Step size.
        pull: The accuracy term, or None where it is exactly 0: in a client's first participation.
    """
    widest = max(part.stop - part.start for layer in layers for part in layer.parts)
    scratch = preference.new_empty(4, widest)
    parts = list(_cut_like(grad, layers))
    noise = iter(pull.noise if pull else ())
    for layer, count, grads, mass in zip(layers, sizes, parts, _masses(parts, mask, layers, scratch), strict=True):
        pressure = objective.privacy * count / mass if mass > _NO_GRADIENT else 0.0
        for part, of_part in zip(layer.parts, grads, strict=True):
            *room, flags = scratch[:, : of_part.numel()]
            pulled = None if pull is None else Pulled(pull.broadcast[part], pull.own[part], next(noise))
            kept = None if mask is None else as_number(mask[part], flags)
            objective.descend_(preference[part], of_part, pressure, lr, pulled, kept, room)


def as_number(mask: Tensor, out: Tensor) -> Tensor:
    """Return ``out``, filled with a bool ``mask`` as numbers."""
    return out.copy_(mask.view(torch.uint8))  # the same bytes; torch converts from bool three times slower


def _cut_like(grad: Tensor | Sequence[Tensor], layers: Sequence[Layer]) -> Iterator[tuple[Tensor, ...]]:
    """Yield each layer's gradient in the parts that the layer is cut into."""
    for index, layer in enumerate(layers):
        whole = grad[layer.whole] if isinstance(grad, Tensor) else grad[index]
        yield torch.split(whole, [part.stop - part.start for part in layer.parts])


def _masses(
    grads: Sequence[Sequence[Tensor]], mask: Tensor | None, layers: Sequence[Layer], scratch: Tensor
) -> list[float]:
    """Return ``sum_l |g|`` of each layer over the coordinates that ``mask`` keeps."""
    sums = []
    for layer, parts in zip(layers, grads, strict=True):
        masses = []
        for part, grad in zip(layer.parts, parts, strict=True):
            size, flags = (room[: grad.numel()] for room in scratch[:2])
            torch.abs(grad, out=size)
            masses.append(size.sum() if mask is None else torch.dot(size, as_number(mask[part], flags)))
        sums.append(torch.stack(masses).sum())
    return torch.stack(sums).tolist()
