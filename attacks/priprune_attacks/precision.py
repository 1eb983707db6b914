"""Gradient matching in bfloat16: activations, deltas and targets; images, losses and sums stay in float32.

Measured on one thread of a CPU with AVX-512 and its bfloat16 products, one image a victim. Speed over float32: Conv-2
1.5 times at 16 victims and 1.3 to 1.6 at 64, LeNet 1.1 at 64. Cost, SGI at rate .3: ``mini``, 6 victims, 200
iterations, 20.1 dB for 20.9; Conv-2, 4 victims, 80 iterations, 22.0 dB for 21.9. Single images move by up to 4 dB
either way, as they do when float32 products are only summed in another order (compiled, the same 6 victims have 20.1).
"""

from copy import copy, deepcopy
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from priprune_attacks.factors import Factors
from priprune_attacks.gradients import FactoredGradients, Gradients
from priprune_attacks.layer_masks import Dropped, LayerMask
from priprune_attacks.layers import LayerTarget, factorable_layers
from priprune_attacks.objectives import Products
from priprune_attacks.target_batch import TargetBatch
from priprune_plugins import Layout, ScenarioError

Precision = Literal["fp32", "bf16"]


def in_precision(gradients: Gradients, precision: Precision, layout: Layout) -> Gradients:
    """Return an engine of that precision.

    Raises:
        ScenarioError: bf16 is asked for a model whose layers do not factor.
    """
    if precision == "fp32":
        return gradients
    if not isinstance(gradients, FactoredGradients):
        raise ScenarioError("precision: bf16 needs a model of Linear and Conv2d layers only; use precision: fp32")
    return Bf16Gradients(gradients, layout)


class Bf16Gradients:
    """The factored engine on a bfloat16 copy of its model."""

    def __init__(self, gradients: FactoredGradients, layout: Layout) -> None:
        self.model = gradients.model
        low = deepcopy(gradients.model).to(torch.bfloat16)
        self._low = FactoredGradients(low, factorable_layers(low, layout) or ())

    def products(self, images: Tensor, labels: Tensor, targets: TargetBatch) -> Products:
        if targets.steps.count > 1:
            raise ScenarioError("precision: bf16 rounds local steps away; use precision: fp32, or unroll: false")
        low = self._low.products(images.bfloat16(), labels.bfloat16(), lowered(targets))
        return Products(low.dot, low.square, targets.square)


def lowered(targets: TargetBatch) -> TargetBatch:
    """Return the batch with targets and masks in bfloat16; made once for each batch."""
    made = targets.__dict__.get("_lowered")
    if made is None:
        made = copy(targets)
        made.layers = [LayerTarget(_low_target(one.target), _low_mask(one.mask)) for one in targets.factored.layers]
        made.__dict__["factored"] = made
        targets.__dict__["_lowered"] = made
    return made


def _low_target(target: Tensor | Factors) -> Tensor | Factors:
    if isinstance(target, Factors):
        return Factors(target.left.bfloat16(), target.right.bfloat16())
    return target.bfloat16()


def _low_mask(mask: LayerMask) -> LayerMask:
    if isinstance(mask, Dropped):
        return mask if mask.kept is None else replace(mask, kept=mask.kept.bfloat16())
    return None if mask is None else mask.bfloat16()
