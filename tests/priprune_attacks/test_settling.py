"""What a search takes for probabilities, and by which labels its images are judged."""

import torch
from torch import Tensor

from priprune_attacks.objectives import Products, cosine
from priprune_attacks.optimise import Descended
from priprune_attacks.settling import probabilities, settled

LABELS = torch.tensor([0.0, 1.0, 0.0]).view(1, 1, 1, 3)


def test_searched_labels_are_logits_and_known_ones_are_taken_as_they_are() -> None:
    free = torch.tensor([True, False]).view(-1, 1, 1)
    labels = LABELS.expand(1, 2, 1, 3)
    found = probabilities(labels, free, relaxed=False)
    assert torch.equal(found[0, 0], labels[0, 0].softmax(-1)) and torch.equal(found[0, 1], labels[0, 1])


def test_only_a_relaxed_search_moves_known_labels() -> None:
    labels, known = LABELS.clone().requires_grad_(), torch.tensor(False)
    assert probabilities(labels, known, relaxed=True).requires_grad
    (grad,) = torch.autograd.grad(probabilities(labels, known, relaxed=False).sum() + 0 * labels.sum(), labels)
    assert not grad.any()


def test_the_row_of_the_lowest_finite_loss_is_judged_anew_with_the_labels_given() -> None:
    target = torch.tensor([1.0, 0.0])

    def compare(images: Tensor, labels: Tensor) -> Products:
        made = images.flatten(2) * labels.sum((-1, -2)).unsqueeze(-1)
        parts = made * target, made * made, (target * target).expand_as(made[:, :1])
        return Products(*(part.sum(-1, keepdim=True) for part in parts))

    images = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]).view(1, 3, 1, 1, 1, 2)
    match = torch.tensor([[0.3, 0.2, 0.1]])
    total = torch.tensor([[0.3, 0.2, torch.inf]])
    found = Descended(images, LABELS.expand(1, 3, 1, 3), total, match, match.unsqueeze(0))
    best = settled(found, compare, cosine, contrast=False)
    assert torch.equal(best.images, images[:, 1:2])
    assert float(best.match) == float(cosine(compare(images[:, 1:2], LABELS)))
