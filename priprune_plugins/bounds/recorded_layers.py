"""The layers whose per-image gradients are products of two recorded tensors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

Call = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class RecordedLayer:
    """A Linear or Conv2d module whose weight and bias no other module holds.

    Args:
        module: The layer.
        names: Names of its parameters in the model.
    """

    module: nn.Linear | nn.Conv2d
    names: tuple[str, ...]


def recordable_layers(model: nn.Module) -> list[RecordedLayer]:
    """Return the layers of a model whose per-image gradients factor, in module order.

    Supported are Linear, and Conv2d with one group and zero padding given in pixels; a parameter that two modules
    share is left to plain differentiation.
    """
    held = [id(parameter) for module in model.modules() for parameter in module.parameters(recurse=False)]
    layers = []
    for prefix, module in model.named_modules():
        if type(module) is nn.Linear or (type(module) is nn.Conv2d and _plain(module)):
            own = dict(module.named_parameters(recurse=False))
            if all(held.count(id(parameter)) == 1 for parameter in own.values()):
                names = tuple(f"{prefix}.{name}" if prefix else name for name in own)
                layers.append(RecordedLayer(module, names))
    return layers


@contextmanager
def recording(layers: Sequence[RecordedLayer]) -> Iterator[list[list[Call]]]:
    """Record ``(input, output)`` of every call of each layer inside the block."""
    calls: list[list[Call]] = [[] for _ in layers]

    def recorder(index: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            calls[index].append((inputs[0].detach(), output))
            # The net goes on with a copy, so that an in-place ReLU after the layer leaves what was recorded alone.
            return output.clone()

        return record

    hooks = [layer.module.register_forward_hook(recorder(index)) for index, layer in enumerate(layers)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _plain(module: nn.Conv2d) -> bool:
    return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
