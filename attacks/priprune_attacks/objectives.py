"""How far a dummy gradient is from the target, from their inner products alone.

An objective maps :class:`Products` to ``[V, R]``. Masked variants need no code: the products count compared
coordinates only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Products:
    """Inner products over the compared coordinates, one per layer (parameter tensor).

    Args:
        dot: ``[V, R, layers]`` dummy gradient times target.
        square: ``[V, R, layers]`` squared norm of the dummy gradient.
        target_square: ``[V, 1, layers]`` squared norm of the target.
    """

    dot: Tensor
    square: Tensor
    target_square: Tensor


Objective = Callable[[Products], Tensor]


def cosine(products: Products) -> Tensor:
    """Return one minus the cosine similarity over all layers, in [0, 2].

    Reference: Geiping et al., "Inverting Gradients", NeurIPS 2020, arXiv:2003.14053, equation 4.
    """
    tiny = torch.finfo(products.dot.dtype).tiny
    norms = products.square.sum(-1).clamp_min(tiny).sqrt() * products.target_square.sum(-1).clamp_min(tiny).sqrt()
    return 1.0 - products.dot.sum(-1) / norms


def l2(products: Products) -> Tensor:
    """Return the squared distance over all layers.

    Written out as ``||g||^2 - 2 <g, t> + ||t||^2``: in float32 its smallest step is about 1e-7 of ``||t||^2``.

    Reference: Zhu, Liu, Han, "Deep Leakage from Gradients", NeurIPS 2019, arXiv:1906.08935, equation 4.
    """
    return (products.square - 2.0 * products.dot + products.target_square).sum(-1)
