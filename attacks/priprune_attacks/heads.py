"""The rest of a model behind one layer: it tells scale and label of a candidate for that layer's input, and whether it
is one.

The weights behind the layer are public, so for an input ``a`` of label ``k`` the loss gradient ``d_k(a)`` at the
layer's output can be computed. If an image with that input and label was in the batch, then ``d_k(a) / B`` lies in the
column space of the layer's gradient ``G``, and taking ``d_k(a) a^T / B`` out of ``G`` lowers its rank by one, which is
so exactly if ``a^T G^+ d_k(a) / B = 1`` (Wedderburn's rank reduction).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from priprune_attacks.layer_inputs import LinearLayer
from priprune_attacks.low_rank import LowRank

# Scales tried around a typical norm, over a factor of 30 each way; then again around the best, ever closer.
_SCALES = 41
_WIDEST = 30.0
_ZOOMS = 5
# Weight of the rank's condition in the choice of a label where the scale is known: several local steps falsify it.
_HINT = 1e-2


@dataclass(frozen=True, eq=False)
class Head:
    """A model from the output of one of its Linear layers on.

    Args:
        model: The attacker's copy, at the victims' point.
        layer: The layer.
        image: ``[C, H, W]`` any image; what the layers before make of it is replaced.
    """

    model: nn.Module
    layer: LinearLayer
    image: Tensor

    def output_gradients(self, inputs: Tensor, labels: Sequence[int] | None = None) -> Tensor:
        """Return the gradient of each input's own loss at the layer's output, for some labels.

        Args:
            inputs: ``[N, I]``.
            labels: ``L`` labels to be tried, or None for all.

        Returns:
            ``[N, L, O]``.
        """
        outputs: list[Tensor] = []

        def leaf(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
            outputs.append(output.detach().requires_grad_())
            return outputs[0]

        module = self.layer.module
        hooks = [module.register_forward_pre_hook(lambda *_: (inputs,)), module.register_forward_hook(leaf)]
        try:
            logits = self.model(self.image.unsqueeze(0))
        finally:
            for hook in hooks:
                hook.remove()
        # d_k = J^T softmax - J^T e_k, J the Jacobian of the logits.
        mean = (logits.detach().softmax(-1) * logits).sum()
        tried = [mean - logits[:, label].sum() for label in labels or range(logits.shape[1])]
        pulls = [torch.autograd.grad(loss, outputs[0], retain_graph=True)[0] for loss in tried]
        return torch.stack(pulls, 1)


@dataclass(frozen=True, eq=False)
class Explained:
    """The reading of a candidate that agrees best with the gradient.

    Args:
        inputs: ``[I]`` the candidate at its scale.
        scale: What the mixture was multiplied by.
        label: Its label.
        loss: Share of ``d_k(a)`` outside the column space, squared, plus the squared error of the rank's condition; 0
            = the image was in the batch.
        output_gradient: ``[O]`` ``d_k(a)``.
    """

    inputs: Tensor
    scale: float
    label: int
    loss: float
    output_gradient: Tensor


def explain(head: Head, gradient: LowRank, mixture: Tensor, num_images: int, typical_norm: float) -> Explained:
    """Return scale and label of one candidate.

    The bias column fixes the scale: its entry of an input is 1. Where it was not received, scales around
    ``typical_norm`` are searched, for each label, and then more finely around the best.

    Args:
        head: The model behind the layer.
        gradient: The layer's ``[dW | db]``.
        mixture: ``[r]``, the candidate is ``mixture @ gradient.right``.
        num_images: B.
        typical_norm: Norm of the layer's input on public images.
    """
    direction = mixture @ gradient.right
    readings = _Readings(head, gradient, mixture, num_images)
    if bool(gradient.columns_known[-1]) and float(direction[-1]) > 0:
        return readings.best(1.0 / direction[-1:])
    around, width = typical_norm / direction[:-1].norm(), _WIDEST
    best = readings.best(around * _spaced(width, direction))
    for _ in range(_ZOOMS):
        width = width ** (4.0 / _SCALES)
        again = readings.best(best.scale * _spaced(width, direction), [best.label])
        best = min(best, again, key=lambda reading: reading.loss)
    return best


def _spaced(width: float, like: Tensor) -> Tensor:
    """Return factors from 1 / width to width, evenly spaced in their logarithm."""
    return width ** torch.linspace(-1.0, 1.0, _SCALES, dtype=like.dtype, device=like.device)


@dataclass(frozen=True, eq=False)
class _Readings:
    """All readings of one candidate: a scale and a label each."""

    head: Head
    gradient: LowRank
    mixture: Tensor
    num_images: int

    def best(self, scales: Tensor, labels: Sequence[int] | None = None) -> Explained:
        """Return the one of least loss among ``scales [S]`` and ``labels``."""
        gradient = self.gradient
        inputs = scales.unsqueeze(1) * (self.mixture @ gradient.right)[:-1]  # [S, I]
        deltas = self.head.output_gradients(inputs.to(self.head.image), labels).double()  # [S, L, O]
        known = deltas * gradient.rows_known
        inside = known @ gradient.left  # [S, L, r]
        tiny = torch.finfo(known.dtype).tiny
        outside = 1.0 - inside.square().sum(-1) / known.square().sum(-1).clamp_min(tiny)
        lowered = (inside @ (self.mixture / gradient.values)) * scales.unsqueeze(1) / self.num_images
        outside, lowered = outside.clamp_min(0.0), (1.0 - lowered).square()
        weighted = outside + lowered * (1.0 if len(scales) > 1 else _HINT)
        scale, label = divmod(int(weighted.argmin()), weighted.shape[1])
        losses = outside + lowered
        return Explained(
            inputs=inputs[scale],
            scale=float(scales[scale]),
            label=label if labels is None else labels[label],
            loss=float(losses[scale, label]),
            output_gradient=deltas[scale, label],
        )
