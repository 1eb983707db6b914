"""The inputs of one Linear layer, image by image, from what was received of its gradient."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from priprune_attacks.heads import Explained, Head, explain
from priprune_attacks.layer_inputs import LayerGradient
from priprune_attacks.low_rank import LowRank, complete_low_rank
from priprune_attacks.rank_one import complete_rank_one
from priprune_attacks.unmixing import corners

# A candidate is an image of the batch where its reading errs by less than the first; only where no such is left, than
# the second. Exact uploads give 1e-5 and less for images and .02 and more for other corners, noisy ones blur both.
_ACCEPTED = (1e-4, 3e-2)
_TRIES_PER_IMAGE = 3


@dataclass(frozen=True, eq=False)
class Recovered:
    """The inputs found.

    Args:
        inputs: ``[F, I]``, one row per image found, 0 where unknown.
        known: ``[I]`` bool, the features that the entries received tell.
        labels: ``[F]`` int64.
        losses: ``[F]`` float64, how far each is from explaining the gradient, see :class:`Explained`.
        error: Expected squared error of the inputs from noise in the entries, relative to their squared norm.
        nonzero_share: Share of nonzero entries in the layer's whole gradient: below it, withholding the largest
            entries protects nothing here. For one image estimated from the rows and columns that are not 0; for more,
            that of the entries received.
    """

    inputs: Tensor
    known: Tensor
    labels: Tensor
    losses: Tensor
    error: float
    nonzero_share: float


@dataclass(frozen=True, eq=False)
class Bounds:
    """What is known of every feature beforehand: ``low <= a``, and ``a <= high`` where there is a bound.

    Args:
        low: ``[I]``, zeros behind a ReLU.
        high: ``[I]``, or None.
    """

    low: Tensor
    high: Tensor | None = None

    def slacks(self, right: Tensor) -> Tensor:
        """Return a span ``[r, ...]`` whose mixtures are non-negative for inputs within the bounds.

        Args:
            right: ``[r, I + 1]`` basis of ``(a, 1)``.
        """
        features, ones = right[:, :-1], right[:, -1:]
        above = features - self.low * ones
        return above if self.high is None else torch.cat([above, self.high * ones - features], 1)


def recover_inputs(
    received: LayerGradient,
    head: Head,
    num_images: int,
    bounds: Bounds,
    typical_norm: float,
    generator: torch.Generator,
) -> Recovered | None:
    """Return the inputs of the batch's images that can be told, or None where the layer's gradient shows nothing.

    One image is the rank-one case and always answered. Of more, only inputs that explain the gradient are given; what
    they explain is then taken out of it, which leaves fewer images, until no more are found.

    Args:
        received: The layer's gradient.
        head: The model behind the layer.
        num_images: B.
        bounds: Bounds of the features.
        typical_norm: Norm of the layer's input on public images.
        generator: CPU generator.
    """
    if num_images == 1:
        return _recover_one(received, head, typical_norm)
    found: list[Explained] = []
    rest, first = received, None
    while len(found) < num_images:
        gradient = complete_low_rank(rest.matrix, rest.seen, num_images - len(found), generator)
        if gradient is None:
            break
        first = first or gradient
        candidates = partial(_separated, gradient, head, num_images, bounds, typical_norm, generator)
        more = next((images for images in map(candidates, _ACCEPTED) if images), [])
        if not more:
            break
        found += more
        rest = LayerGradient(_without(rest, more, num_images), rest.seen)
    if first is None:
        return None
    nonzero = float((received.seen & (received.matrix != 0)).sum() / received.seen.sum())
    return _gathered(found, first, head, 0.0, nonzero)


def _recover_one(received: LayerGradient, head: Head, typical_norm: float) -> Recovered | None:
    fitted = complete_rank_one(received.matrix, received.seen)
    if fitted is None or not bool(fitted.columns[:-1].any()):
        return None
    scale = fitted.rows.double().norm()
    gradient = LowRank(
        left=(fitted.rows.double() / scale).unsqueeze(1),
        values=scale.unsqueeze(0),
        right=fitted.columns.double().unsqueeze(0),
        rows_known=fitted.rows_known,
        columns_known=fitted.columns_known,
        residual=fitted.residual,
        error=0.0,
    )
    bias = float(gradient.right[0, -1])
    signs = (1.0, -1.0) if bias == 0 else (math.copysign(1.0, bias),)
    readings = [explain(head, gradient, sign * scale.new_ones(1), 1, typical_norm) for sign in signs]
    nonzero = float((fitted.rows != 0).double().mean() * (fitted.columns != 0).double().mean())
    best = min(readings, key=lambda reading: reading.loss)
    return _gathered([best], gradient, head, fitted.error, nonzero)


def _separated(
    gradient: LowRank,
    head: Head,
    num_images: int,
    bounds: Bounds,
    typical_norm: float,
    generator: torch.Generator,
    most_loss: float,
) -> list[Explained]:
    """Return the readings of all corners that are images of the batch: those that err by less than ``most_loss``."""
    found: list[Explained] = []
    candidates = corners(bounds.slacks(gradient.right), _TRIES_PER_IMAGE * num_images, generator, gradient.error)
    mixture = next(candidates, None)
    while mixture is not None:
        reading = explain(head, gradient, mixture, num_images, typical_norm)
        accepted = reading.loss < most_loss
        if accepted:
            found.append(reading)
        try:
            mixture = candidates.send(accepted)
        except StopIteration:
            break
    return found


def _without(rest: LayerGradient, found: list[Explained], num_images: int) -> Tensor:
    """Take what the found images explain out of the matrix."""
    deltas = torch.stack([reading.output_gradient for reading in found])  # [F, O]
    inputs = torch.stack([reading.inputs for reading in found])  # [F, I]
    explained = deltas.T @ torch.cat([inputs, inputs.new_ones(len(found), 1)], 1) / num_images
    return (rest.matrix - explained.to(rest.matrix)) * rest.seen


def _gathered(found: list[Explained], gradient: LowRank, head: Head, error: float, nonzero_share: float) -> Recovered:
    device, width = head.image.device, gradient.right.shape[1] - 1
    inputs = [reading.inputs for reading in found]
    return Recovered(
        inputs=torch.stack(inputs).to(head.image) if inputs else head.image.new_zeros(0, width),
        known=gradient.columns_known[:-1],
        labels=torch.tensor([reading.label for reading in found], dtype=torch.long, device=device),
        losses=torch.tensor([reading.loss for reading in found], dtype=torch.float64, device=device),
        error=error,
        nonzero_share=nonzero_share,
    )
