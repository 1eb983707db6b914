"""The gradient of one Linear layer as a matrix: the layer's inputs times the loss gradients at its outputs.

For inputs ``a_b [I]`` and output gradients ``d_b [O]`` of the images ``b`` of a batch the layer's gradient is
``[dW | db] = sum_b d_b (a_b, 1)^T``, a matrix ``[O, I + 1]`` of rank at most B: to take it apart is to hold the inputs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from priprune_attacks.targets import Target
from priprune_plugins import Layout, ScenarioError


@dataclass(frozen=True, eq=False)
class LinearLayer:
    """A Linear layer and where its parameters lie in the flat vector.

    Args:
        name: Its name among ``model.named_modules()``.
        module: The module, in the attacker's copy of the model.
        weight: Slice of its weight ``[O, I]``.
        bias: Slice of its bias ``[O]``, or None.
    """

    name: str
    module: nn.Linear
    weight: slice
    bias: slice | None

    def gradient(self, target: Target) -> "LayerGradient":
        """Return what a target says about this layer."""
        shape = (self.module.out_features, self.module.in_features)
        seen = torch.ones_like(target.gradient, dtype=torch.bool) if target.mask is None else target.mask
        parts = [(vector[self.weight].view(shape), self._bias_of(vector)) for vector in (target.gradient, seen)]
        (weights, bias), (weights_seen, bias_seen) = parts
        return LayerGradient(torch.cat([weights, bias], 1), torch.cat([weights_seen, bias_seen], 1))

    def _bias_of(self, flat: Tensor) -> Tensor:
        rows = self.module.out_features
        return flat.new_zeros(rows, 1) if self.bias is None else flat[self.bias].view(rows, 1)


@dataclass(frozen=True, eq=False)
class LayerGradient:
    """``[dW | db]`` of one layer, as far as it was received.

    Args:
        matrix: ``[O, I + 1]``, 0 where ``seen`` is False; the last column is the bias.
        seen: ``[O, I + 1]`` bool, which entries were received; False throughout the last column without a bias.
    """

    matrix: Tensor
    seen: Tensor


def linear_layer(model: nn.Module, layout: Layout, name: str | None = None) -> LinearLayer | None:
    """Return the Linear layer to attack, or None where the model has none.

    Args:
        model: The attacker's copy of the model.
        layout: Its layout.
        name: Name of the layer; None = the first Linear layer, whose input is the least worked over.

    Raises:
        ScenarioError: ``name`` is not a Linear layer of the model.
    """
    found = {key: module for key, module in model.named_modules() if isinstance(module, nn.Linear)}
    if name is not None and name not in found:
        options = ", ".join(found) or "none"
        raise ScenarioError(f"attack: layer must name a Linear layer of the model, got {name!r}; it has: {options}")
    chosen = next(iter(found), None) if name is None else name
    if chosen is None:
        return None
    slices = dict(zip(layout.names, layout.slices, strict=True))
    return LinearLayer(chosen, found[chosen], slices[f"{chosen}.weight"], slices.get(f"{chosen}.bias"))
