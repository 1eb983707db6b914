"""PriPrune's objective in the probabilities alpha, its gradient in closed form, and one descent step.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, equations 6-8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from priprune_plugins import Layout

Parameterisation = Literal["raw", "logit"]
Penalty = Literal["all", "withheld"]

# The paper puts no bound on alpha; log(alpha) and log(1 - alpha) need one.
_RAW_BOUND = 0.499
# A layer whose sizes sum to less has no gradient to speak of, and its inverse would overflow float32.
_NO_GRADIENT = 1e-30


@dataclass(frozen=True, eq=False)
class Objective:
    """Equation 6 as a function of alpha.

    A *preference* is what stands for alpha, with 0 at alpha = 0.5: ``alpha - 0.5`` (raw) or
    ``log(alpha / (1 - alpha))`` (logit). A coordinate is withheld where it is positive. Raw alpha moves by 1e-7 a step
    around 0.5, where float32's own spacing is 6e-8; around 0 nothing is rounded away.

    Args:
        parameterisation: ``raw`` or ``logit``.
        lambda_acc: Weight of the accuracy loss.
        privacy: ``lambda_pri / N``, N the number of coordinates that the base mask keeps.
        lambda_sha: Weight of the sum of alphas.
        tau: Temperature of the Gumbel-Softmax.
        penalty: Whether that sum runs over all coordinates or, as printed, over the withheld ones.
    """

    parameterisation: Parameterisation
    lambda_acc: float
    privacy: float
    lambda_sha: float
    tau: float
    penalty: Penalty = "all"

    def descend(self, result: Tensor, preference: Tensor, grad: Tensor, pressure: float, lr: float) -> None:
        """Set ``result [n]`` to the preferences of one layer after a step down the privacy and penalty terms.

        ``dL/dalpha = lambda_sha - pressure * |g| / alpha``, and times ``alpha * (1 - alpha)`` in the logit.

        Args:
            result: ``[n]``, overwritten.
            preference: ``[n]``, left as it is.
            grad: ``[n]`` gradient of the training loss; only its size counts, and it is held constant.
            pressure: ``lambda_pri * (N_l / N) / sum_l |g|``.
            lr: Step size.
        """
        penalty = self.lambda_sha if self.penalty == "all" else (preference > 0) * self.lambda_sha
        if self.parameterisation == "raw":
            moved = torch.addcdiv(preference, grad.abs(), preference + 0.5, value=lr * pressure, out=result)
            moved.sub_(penalty * lr)
            return
        alpha = preference.sigmoid()
        slope = (alpha * penalty).sub_(grad.abs(), alpha=pressure)
        torch.addcmul(preference, slope, alpha.sub_(1), value=lr, out=result)

    def descend_accuracy_(
        self, result: Tensor, preference: Tensor, grad: Tensor, gap: Tensor, noise: Tensor, lr: float
    ) -> None:
        """Add to ``result [n]`` the step down the accuracy term, in place.

        The weights are ``v * broadcast + (1 - v) * own`` with ``v = sigmoid(noise - logit(alpha) / tau)``, so
        ``dL/dalpha = -lambda_acc * g * gap * v * (1 - v) / (tau * alpha * (1 - alpha))``.

        Args:
            result: ``[n]``.
            preference: ``[n]``.
            grad: ``[n]`` gradient of the training loss at the composed weights.
            gap: ``[n]`` broadcast minus the client's own last weights; overwritten.
            noise: ``[n]`` standard logistic draws over ``tau``.
            lr: Step size.
        """
        logit = preference if self.parameterisation == "logit" else logit_of_raw(preference)
        v = torch.sub(noise, logit, alpha=1 / self.tau).sigmoid_()
        slope = v.addcmul_(v, v, value=-1)
        value = lr * self.lambda_acc / self.tau
        if self.parameterisation == "logit":
            result.addcmul_(gap.mul_(grad), slope, value=value)
        else:
            result.addcdiv_(gap.mul_(grad).mul_(slope), 0.25 - preference.square(), value=value)


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


def logit_of_raw(preference: Tensor) -> Tensor:
    """Return ``log(alpha / (1 - alpha))`` of ``preference = alpha - 0.5``."""
    return ((0.5 + preference) / (0.5 - preference)).log_()


def chunks(layout: Layout, size: int) -> list[list[slice]]:
    """Return each layer cut into slices of at most ``size`` coordinates of the flat vector."""
    return [
        [slice(start, min(start + size, layer.stop)) for start in range(layer.start, layer.stop, size)]
        for layer in layout.slices
    ]


def layer_sizes(layout: Layout, mask: Tensor | None) -> list[int]:
    """Return ``N_l``: how many coordinates of each layer the base mask keeps."""
    if mask is None:
        return list(layout.sizes)
    return [int(torch.count_nonzero(part)) for part in layout.layers(mask)]


def sum_of_sizes(grad: Tensor, mask: Tensor | None, parts: Sequence[slice]) -> float:
    """Return ``sum_l |g|`` of one layer over the coordinates that ``mask`` keeps."""
    total = grad.new_zeros(())
    for part in parts:
        size = grad[part].abs()
        total += size.sum() if mask is None else torch.dot(size, _as_number(mask[part], size))
    return total.item()


def stepped(
    objective: Objective,
    preference: Tensor,
    grad: Tensor,
    mask: Tensor | None,
    layers: Sequence[Sequence[slice]],
    sizes: Sequence[int],
    lr: float,
    pull: Pull | None,
) -> Tensor:
    """Return ``preference - lr * dL/dpreference``, in one pass over cache-sized parts of the flat vector.

    Args:
        objective: The loss.
        preference: ``[D]``, left as it is.
        grad: ``[D]`` dense gradient of the training loss.
        mask: ``[D]`` bool base mask, or None; pruned coordinates count in no mean and do not move.
        layers: The parts of each layer, of :func:`chunks`.
        sizes: ``N_l`` of each layer, of :func:`layer_sizes`.
        lr: Step size.
        pull: The accuracy term, or None where it is exactly 0: in a client's first participation.
    """
    result = torch.empty_like(preference)
    noise = iter(pull.noise if pull else ())
    for parts, count in zip(layers, sizes, strict=True):
        total = sum_of_sizes(grad, mask, parts)
        pressure = objective.privacy * count / total if total > _NO_GRADIENT else 0.0
        for part in parts:
            moved = result[part]
            objective.descend(moved, preference[part], grad[part], pressure, lr)
            if pull is not None:
                gap = pull.broadcast[part] - pull.own[part]
                objective.descend_accuracy_(moved, preference[part], grad[part], gap, next(noise), lr)
            if mask is not None:
                torch.lerp(preference[part], moved, _as_number(mask[part], moved), out=moved)
    return result.clamp_(-_RAW_BOUND, _RAW_BOUND) if objective.parameterisation == "raw" else result


def _as_number(mask: Tensor, like: Tensor) -> Tensor:
    return mask.view(torch.uint8).to(like.dtype)  # the same bytes; torch converts from bool three times slower
