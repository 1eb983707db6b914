"""All inner products of per-image loss gradients, in memory that does not grow with images times parameters.

The covariance of ``n`` gradients of ``D`` parameters has at most ``n - 1`` eigenvalues that are not 0, and the
``[n, n]`` matrix of inner products has the same ones: no ``[n, D]`` and no ``[D, D]`` matrix is made.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from priprune_plugins.bounds.layer_gram import BLOCK_ENTRIES, layer_gram, rows_gram
from priprune_plugins.bounds.recorded_layers import Call, RecordedLayer, recordable_layers, recording
from priprune_plugins.simulation.evaluation import eval_mode

_IMAGES_A_PASS = 64


def gradient_gram(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return ``<g_i, g_j>`` of the cross-entropy gradients of single images, over all parameters.

    Batch norm uses its running statistics and dropout is off: with a batch's own statistics no image has a gradient of
    its own. The model's mode, ``.grad`` and weights stay as they were. Give weights in float64: eigenvalues that are
    really 0 then show at 1e-16 of the largest, and not at 1e-7.

    Args:
        model: Takes images; its parameters require gradients.
        images: ``[n, C, H, W]`` in [0, 1], in the dtype of the weights.
        labels: ``[n]`` int64.

    Returns:
        ``[n, n]`` float64 on the images' device.
    """
    layers = recordable_layers(model)
    with eval_mode(model), torch.enable_grad():
        calls = _recorded(model, layers, images, labels)
        # A layer that runs twice has a gradient that is a sum of two products: plain differentiation has it right.
        factored = {index: call for index, call in enumerate(calls) if call is not None}
        gram = images.new_zeros(len(images), len(images), dtype=torch.float64)
        for index, (inputs, deltas) in factored.items():
            gram += layer_gram(layers[index].module, inputs, deltas)
        done = {name for index in factored for name in layers[index].names}
        rest = [parameter for name, parameter in model.named_parameters() if name not in done]
        for group in _groups(rest, len(images)):
            gram += rows_gram(_formed(model, group, images, labels))
    return gram


def _recorded(model: nn.Module, layers: Sequence[RecordedLayer], images: Tensor, labels: Tensor) -> list[Call | None]:
    """Return ``(inputs [n, ...], deltas [n, ...])`` per layer, None where a layer did not run exactly once."""
    if not layers:
        return []
    passes = [_one_pass(model, layers, *part) for part in _parts(images, labels)]
    return [_joined([of_pass[index] for of_pass in passes]) for index in range(len(layers))]


def _one_pass(model: nn.Module, layers: Sequence[RecordedLayer], images: Tensor, labels: Tensor) -> list[Call | None]:
    with recording(layers) as calls:
        loss = cross_entropy(model(images), labels, reduction="sum")
    once = [call[0] if len(call) == 1 else None for call in calls]
    outputs = [call[1] for call in once if call is not None]
    deltas = iter(torch.autograd.grad(loss, outputs, materialize_grads=True, allow_unused=True) if outputs else ())
    return [None if call is None else (call[0], next(deltas)) for call in once]


def _joined(calls: Sequence[Call | None]) -> Call | None:
    there = [call for call in calls if call is not None]
    if len(there) < len(calls):
        return None
    return torch.cat([inputs for inputs, _ in there]), torch.cat([deltas for _, deltas in there])


def _parts(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for begin in range(0, len(images), _IMAGES_A_PASS):
        some = slice(begin, begin + _IMAGES_A_PASS)
        yield images[some], labels[some]


def _groups(parameters: Sequence[Tensor], num_images: int) -> Iterator[list[Tensor]]:
    """Yield parameters together as far as their gradients for all images fit a block."""
    group: list[Tensor] = []
    for parameter in parameters:
        if group and num_images * sum(p.numel() for p in [*group, parameter]) > BLOCK_ENTRIES:
            yield group
            group = []
        group.append(parameter)
    if group:
        yield group


def _formed(model: nn.Module, parameters: Sequence[Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradients themselves, image by image, ``[n, size]``."""
    rows = []
    for image, label in zip(images, labels, strict=True):
        loss = cross_entropy(model(image.unsqueeze(0)), label.unsqueeze(0))
        grads = torch.autograd.grad(loss, list(parameters), materialize_grads=True, allow_unused=True)
        rows.append(torch.cat([grad.reshape(-1) for grad in grads]))
    return torch.stack(rows).double()
