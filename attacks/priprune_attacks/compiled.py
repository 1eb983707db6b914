"""The distance to the targets and its gradient as one compiled graph.

``torch.compile`` does not see through a double backward, so the distance is traced together with its gradient first.
Every chunk of victims is compiled anew, because its targets are constants of the graph: 20 seconds for ``mini``, 80
for Conv-2. Measured on one CPU thread in float32, over the plain engine: LeNet 3.2 times at 1 victim and 1.3 at 64;
Conv-2 1.0 at 16, whose time goes into library products. So it pays for long attacks on small networks. It costs no
accuracy: the results differ by rounding, 6e-7 in the loss and 2e-6 in the gradient; that alone moves figures in dB
(20.1 for 20.9, ``mini``, 6 victims, 200 iterations).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from priprune_plugins import ScenarioError

Distance = Callable[[Tensor, Tensor], Tensor]
Traced = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]

# Float32 on both sides: fused kernels add up in another order.
_AGREEMENT = 1e-3


def compiled(distance: Distance) -> Distance:
    """Return ``distance`` compiled at its first call, for inputs of that call's shapes, and checked there.

    Args:
        distance: Maps images ``[V, R, B, C, H, W]`` and label probabilities ``[V, R, B, K]`` to ``[V, R]``; a row's
            distance must depend on that row only.

    Returns:
        The same, differentiable once.

    Raises:
        ScenarioError: At the first call, where the machine cannot compile or the result differs from the plain one.
    """
    made: list[Traced] = []

    def run(images: Tensor, labels: Tensor) -> Tensor:
        if not made:
            made.append(_compiled(distance, images.detach(), labels.detach()))
        value: Tensor = _Rows.apply(images, labels, made[0])
        return value

    return run


def _compiled(distance: Distance, images: Tensor, labels: Tensor) -> Traced:
    def both(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        free = images.detach().requires_grad_(), labels.detach().requires_grad_()
        value = distance(*free)
        of_images, of_labels = torch.autograd.grad(value.sum(), free)
        return value.detach(), of_images, of_labels

    # The plain result comes first: what is made at a first call and kept must not be traced.
    expected = both(images, labels)
    try:
        graph = torch.compile(make_fx(both)(images, labels))
        found = graph(images, labels)
    except (RuntimeError, ImportError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ScenarioError(f"compile: true does not work on this machine ({reason}); use compile: false") from error
    tiny = torch.finfo(images.dtype).tiny
    worst = max(float((a - b).norm() / b.norm().clamp_min(tiny)) for a, b in zip(found, expected, strict=True))
    if not worst <= _AGREEMENT:
        raise ScenarioError(f"compile: true gives another result here (relative {worst:.1e}); use compile: false")
    return graph


class _Rows(torch.autograd.Function):
    """Distances of rows that do not touch each other, with the gradients that came along."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, labels: Tensor, run: Traced) -> Tensor:
        value, of_images, of_labels = run(images, labels)
        ctx.save_for_backward(of_images, of_labels)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        of_images, of_labels = ctx.saved_tensors
        outer = grads[0]
        return outer[..., None, None, None, None] * of_images, outer[..., None, None] * of_labels, None
