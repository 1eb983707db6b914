"""PriPrune's objective in the probabilities alpha, and its gradient in closed form.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, equations 6-8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Parameterisation = Literal["raw", "logit"]
Penalty = Literal["all", "withheld"]

# The paper puts no bound on alpha; log(alpha) and log(1 - alpha) need one.
_RAW_BOUND = 0.499


class Pulled(NamedTuple):
    """What the accuracy term needs of some coordinates.

    Args:
        broadcast: ``[n]`` the broadcast of this round.
        own: ``[n]`` the client's weights after its last participation.
        noise: ``[n]`` standard logistic draws over ``tau``.
    """

    broadcast: Tensor
    own: Tensor
    noise: Tensor


@dataclass(frozen=True, eq=False)
class Objective:
    """Equation 6 as a function of alpha.

    A *preference* is what stands for alpha, with 0 at alpha = 0.5: ``alpha - 0.5`` (raw) or
    ``log(alpha / (1 - alpha))`` (logit). A coordinate is withheld where it is positive. Raw alpha moves by 1e-7 a step
    around 0.5, where float32's own spacing is 6e-8; around 0 nothing is rounded away.

    With ``v = sigmoid(noise - logit(alpha) / tau)`` and the weights ``v * broadcast + (1 - v) * own``::

        dL/dalpha = lambda_sha - pressure * |g| / alpha
                    - lambda_acc * g * (broadcast - own) * v * (1 - v) / (tau * alpha * (1 - alpha))

    and times ``alpha * (1 - alpha)`` in the logit; ``|g|`` is held constant.

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

    def descend_(
        self,
        preference: Tensor,
        grad: Tensor,
        pressure: float,
        lr: float,
        pulled: Pulled | None,
        kept: Tensor | None,
        scratch: Sequence[Tensor],
    ) -> None:
        """Move the preferences of one layer's coordinates by one step, in place.

        Args:
            preference: ``[n]``.
            grad: ``[n]`` gradient of the training loss at the composed weights.
            pressure: ``lambda_pri * (N_l / N) / sum_l |g|``.
            lr: Step size.
            pulled: What the accuracy term needs, or None where it is exactly 0.
            kept: ``[n]`` the base mask as numbers, or None; pruned coordinates do not move.
            scratch: Three vectors ``[n]``, overwritten.
        """
        step, alpha, pull = scratch
        # In units of the pressure, which saves a pass; a layer without gradient has the penalty alone.
        unit = pressure or 1.0
        torch.abs(grad, out=step)
        if not pressure:
            step.zero_()
        if self.parameterisation == "raw":
            self._privacy_raw(preference, step, unit, alpha)
        else:
            self._privacy_logit(preference, step, unit, alpha)
        if pulled is not None:
            self._pull(preference, pulled, pull, alpha)
            step.addcmul_(pull, grad, value=self.lambda_acc / (self.tau * unit))
        if kept is None:
            preference.add_(step, alpha=lr * unit)
        else:
            preference.addcmul_(step, kept, value=lr * unit)
        if self.parameterisation == "raw":
            preference.clamp_(-_RAW_BOUND, _RAW_BOUND)

    def _privacy_raw(self, preference: Tensor, step: Tensor, unit: float, alpha: Tensor) -> None:
        """Turn ``step``, ``|g|``, into ``|g| / alpha - lambda_sha / unit``."""
        step.div_(torch.add(preference, 0.5, out=alpha))
        if self.penalty == "all":
            step.sub_(self.lambda_sha / unit)
        else:
            step.sub_((preference > 0) * (self.lambda_sha / unit))

    def _privacy_logit(self, preference: Tensor, step: Tensor, unit: float, alpha: Tensor) -> None:
        """Turn ``step``, ``|g|``, into ``(|g| - alpha * lambda_sha / unit) * (1 - alpha)``."""
        torch.sigmoid(preference, out=alpha)
        penalised = alpha if self.penalty == "all" else alpha * (preference > 0)
        step.sub_(penalised, alpha=self.lambda_sha / unit)
        step.addcmul_(step, alpha, value=-1)

    def _pull(self, preference: Tensor, pulled: Pulled, result: Tensor, v: Tensor) -> None:
        """Fill ``result`` with ``(broadcast - own) * v * (1 - v)``, over ``alpha * (1 - alpha)`` where raw."""
        if self.parameterisation == "raw":
            # Only the noise's argument is at stake, so alpha itself is precise enough here.
            torch.add(preference, 0.5, out=v).logit_().div_(-self.tau).add_(pulled.noise)
        else:
            torch.sub(pulled.noise, preference, alpha=1 / self.tau, out=v)
        torch.sub(pulled.broadcast, pulled.own, out=result)
        torch.ops.aten.sigmoid_backward.grad_input(result, v.sigmoid_(), grad_input=result)
        if self.parameterisation == "raw":
            result.div_(torch.mul(preference, preference, out=v).neg_().add_(0.25))


def logit_of_raw(preference: Tensor) -> Tensor:
    """Return ``log(alpha / (1 - alpha))`` of ``preference = alpha - 0.5``."""
    return ((0.5 + preference) / (0.5 - preference)).log_()
