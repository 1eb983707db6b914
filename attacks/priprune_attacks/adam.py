"""Adam on a batch of rows."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(eq=False)
class Adam:
    """Adam without weight decay, its learning rate given at every step.

    It works elementwise, so rows (victims and restarts) do not touch each other.

    Args:
        betas: Decay of the two moments.
        eps: Added to the root of the second moment.
        sign: Take the sign of the gradient, as Geiping et al. (2020, arXiv:2003.14053) do.

    Reference: Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980, algorithm 1.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    sign: bool = False
    _steps: int = field(default=0, init=False)
    _moments: tuple[Tensor, Tensor] | None = field(default=None, init=False)

    def step_(self, values: Tensor, grad: Tensor, loss: Tensor, lr: float) -> None:
        """Move ``values`` against ``grad``, in place; the loss is not needed."""
        grad = grad.sign() if self.sign else grad
        first, second = self._moments or (torch.zeros_like(grad), torch.zeros_like(grad))
        self._moments = (first, second)
        self._steps += 1
        first.lerp_(grad, 1.0 - self.betas[0])
        second.mul_(self.betas[1]).addcmul_(grad, grad, value=1.0 - self.betas[1])
        unbias = 1.0 - self.betas[0] ** self._steps, 1.0 - self.betas[1] ** self._steps
        values.addcdiv_(first, (second / unbias[1]).sqrt_().add_(self.eps), value=-lr / unbias[0])
