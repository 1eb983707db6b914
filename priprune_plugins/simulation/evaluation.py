"""Loss and accuracy of a model on labelled images."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_plugins.messages import Evaluation

_CHUNK = 512


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Evaluate inside the block; every module's mode is as found after it."""
    with _mode(model, training=False):
        yield


@contextmanager
def train_mode(model: nn.Module) -> Iterator[None]:
    """Train inside the block; every module's mode is as found after it."""
    with _mode(model, training=True):
        yield


@contextmanager
def _mode(model: nn.Module, training: bool) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, found in modes:
            module.training = found


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> Evaluation:
    """Return the mean cross-entropy and the accuracy over ``images [N, C, H, W]``; NaN loss over no image."""
    loss = torch.zeros((), dtype=torch.float64, device=images.device)
    correct = torch.zeros((), dtype=torch.int64, device=images.device)
    with eval_mode(model):
        for start in range(0, len(labels), _CHUNK):
            part = slice(start, start + _CHUNK)
            logits = model(images[part])
            loss += functional.cross_entropy(logits, labels[part], reduction="sum")
            correct += (logits.argmax(1) == labels[part]).sum()
    count = len(labels)
    return Evaluation(float(loss) / count if count else float("nan"), float(correct) / max(count, 1), count)
