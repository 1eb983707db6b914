"""GraSP: keep the weights that carry the gradient flow.

Reference: Wang, Zhang, Grosse, "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020,
arXiv:2002.07376, equation 8 and Algorithm 2.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from priprune_plugins import Layout, Positive
from priprune_pruners.gradients import Batches, hessian_gradient_product
from priprune_pruners.labelled import LabelledScores


def grasp_scores(weights: Tensor, hessian_gradient: Tensor) -> Tensor:
    """Return ``w * (H g)``, shape ``[D]``, signed: the highest are kept.

    The paper's score is the negative, of which the largest are removed. Its division by the sum changes no order.

    Args:
        weights: ``[D]``.
        hessian_gradient: ``[D]`` product of the loss's Hessian and its gradient at ``weights``, the gradient taken
            over the prunable weights alone.
    """
    return weights * hessian_gradient


@dataclass(frozen=True, eq=False)
class GraSP(LabelledScores):
    """One-shot global mask that preserves the gradient flow; other options in the base class.

    Departures: the official code draws ten images per class, sorts them by class and cuts the batch in two halves to
    save memory; here ``g`` and ``H g`` are means over all images in whatever batches they come. It scores a copy whose
    Linear layers are initialised anew; here the weights that will be trained are scored.

    It removes first what holds the gradient down, so that the pruned net's gradient can be far larger than the dense
    one's, and the learning rate must follow. Measured on digits (60 clients, Dirichlet 1, 10 a round, one step,
    ``mini``, He, 50 public images): at rate 0.1 the gradient's norm grew from 12 to 469 (one seed); at rate 0.3 lr 0.1
    never trained, lr 0.02 reached .895, .097 and .785 after 150 rounds with three seeds, lr 0.01 .915 to .931 with the
    same seeds after 600.

    Args:
        temperature: Divides the logits before the loss; the official code's 200.
        compat: ``exact``, or the rule of an official repository: ``synaptic_flow``, ``grasp``.
    """

    kind: ClassVar[str] = "grasp"

    temperature: Positive = 200.0
    compat: Literal["exact", "synaptic_flow", "grasp"] = "exact"

    @property
    def rule(self) -> str:
        """The selection rule's name."""
        return self.compat

    def scores(self, model: nn.Module, layout: Layout, weights: Tensor, batches: Batches) -> Tensor:
        """Return ``[D]`` signed scores on ``batches``."""
        along, temperature = self.candidates(layout), self.temperature
        product = hessian_gradient_product(model, layout, weights, batches, along, temperature, self.batch_statistics)
        return grasp_scores(weights, product)
