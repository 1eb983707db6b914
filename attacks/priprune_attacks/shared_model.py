"""The attacker's copy of the victims' model, at the weights where their gradients were taken."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from priprune_plugins import Facts

_BATCH_NORMS = nn.modules.batchnorm._BatchNorm


def model_at(facts: Facts, point: Tensor, buffers: Mapping[str, Tensor]) -> nn.Module:
    """Return the architecture with weights ``point [D]`` and ``buffers``, on the device and in the dtype of ``point``.

    Batch norms are in training mode, because a client's gradient is taken with the statistics of its own batch; all
    other modules are in evaluation mode, because a server cannot know which units a dropout removed.
    """
    # Constructors draw weights that are overwritten here; the global generator must not notice.
    with torch.random.fork_rng(devices=[]):
        model = facts.build_model().to(point.device, point.dtype)
    own_buffers = dict(model.named_buffers())
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), facts.layout.unflatten(point).values(), strict=True):
            parameter.copy_(value)
        for name, value in buffers.items():
            own_buffers[name].copy_(value)
    for module in model.modules():
        module.training = isinstance(module, _BATCH_NORMS)
        if getattr(module, "inplace", False):
            # An activation in place would overwrite the pre-activation that deltas are taken at.
            module.inplace = False  # type: ignore[assignment]
    return model.requires_grad_(False)


def last_linear(model: nn.Module, num_classes: int) -> str | None:
    """Return the name of the last Linear layer with one output per class, or None."""
    heads = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and m.out_features == num_classes]
    return heads[-1] if heads else None
