"""Scale, label and truth of a candidate, from the layers behind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from priprune_attacks.heads import Head, explain
from priprune_attacks.layer_inputs import linear_layer
from priprune_attacks.low_rank import LowRank, complete_low_rank
from priprune_attacks.representations import representation
from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import pseudo_gradient

BATCH = 3


@pytest.fixture
def held(new_scene: Callable[..., Any], some_digits: Callable[..., Any]) -> tuple[Head, LowRank, Tensor, Tensor]:
    """A head, the gradient of its layer on three images, their true inputs to it and their labels."""
    images, labels, mean = some_digits(BATCH)
    scene = new_scene(mean_image=mean)
    model = model_at(scene.facts, scene.weights, {})
    layer = linear_layer(model, scene.facts.layout)
    assert layer is not None
    received = layer.gradient(pseudo_gradient(scene.observe(images, labels), mask="none"))
    gradient = complete_low_rank(received.matrix, received.seen, BATCH, torch.Generator().manual_seed(0))
    assert gradient is not None
    with torch.no_grad():
        inputs = representation(model, layer.name, images, "input")
    return Head(model, layer, mean), gradient, inputs, labels


def test_output_gradients_equal_autograd(held: tuple[Head, LowRank, Tensor, Tensor]) -> None:
    head, _, inputs, _ = held
    found = head.output_gradients(inputs, labels=[5, 0])
    for position, label in enumerate((5, 0)):
        outputs = functional.linear(inputs, head.layer.module.weight, head.layer.module.bias).requires_grad_()
        logits = head.model[9:](outputs)  # type: ignore[index]
        loss = functional.cross_entropy(logits, torch.full((BATCH,), label), reduction="sum")
        (expected,) = torch.autograd.grad(loss, outputs)
        torch.testing.assert_close(found[:, position], expected)


@pytest.mark.parametrize("bias", [True, False])
def test_an_input_of_the_batch_explains_the_gradient_with_its_scale_and_label(
    bias: bool, held: tuple[Head, LowRank, Tensor, Tensor]
) -> None:
    head, gradient, inputs, labels = held
    gradient.columns_known[-1] = bias
    for image, label in zip(inputs, labels, strict=True):
        mixture = gradient.right @ torch.cat([image, image.new_ones(1)]).double()
        found = explain(head, gradient, 0.3 * mixture, BATCH, typical_norm=2 * float(image.norm()))
        assert found.label == int(label)
        assert found.loss < 1e-6
        torch.testing.assert_close(found.inputs.float(), image, rtol=1e-3, atol=1e-3)


def test_a_mixture_of_two_images_does_not(held: tuple[Head, LowRank, Tensor, Tensor]) -> None:
    head, gradient, inputs, _ = held
    both = torch.cat([inputs[0] + inputs[1], inputs.new_full((1,), 2.0)]).double()
    assert explain(head, gradient, gradient.right @ both, BATCH, float(inputs[0].norm())).loss > 0.03
