"""Labels while images are searched for, and what is made of the images once the search has ended."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from priprune_attacks.contrast import fit_contrast
from priprune_attacks.objectives import Objective, Products
from priprune_attacks.optimise import Descended

Comparison = Callable[[Tensor, Tensor], Products]


def probabilities(labels: Tensor, free: Tensor, relaxed: bool) -> Tensor:
    """Return ``[V, R, B, K]``: what a search takes for the labels' probabilities.

    Args:
        labels: ``[V, R, B, K]`` logits where labels are searched, elsewhere what stands for known ones.
        free: Bool, broadcast to ``labels``: where they are searched.
        relaxed: Let known labels move as well, as free numbers that need not be probabilities. Otherwise they do not
            enter the descent, which moves whatever its loss depends on.
    """
    return torch.where(free, labels.softmax(-1), labels if relaxed else labels.detach())


def settled(found: Descended, compare: Comparison, objective: Objective, contrast: bool) -> Descended:
    """Return the images of each victim's best row, judged with the labels that ``found`` holds by then.

    Args:
        found: Images ``[V, R, B, C, H, W]`` in [0, 1] and probabilities ``[V, R, B, K]``; known labels as they are
            known, wherever a relaxed search moved them.
        compare: Compares the gradients of images and probabilities with the targets.
        objective: The loss that the search had, which the images are judged by.
        contrast: Fit gain and offset of each image, see :mod:`priprune_attacks.contrast`.
    """
    best = found.winners()
    images = best.images
    if contrast:
        images = fit_contrast(lambda images: compare(images, best.labels), images)
    loss = objective(compare(images.detach().requires_grad_(), best.labels))
    return replace(best, images=images, match=loss.detach())
