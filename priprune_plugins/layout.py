"""Where each parameter lies in the flat vector of ``D`` numbers that everything passes around."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

_PRUNABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)


@dataclass(frozen=True, eq=False)
class Layout:
    """Names, shapes and slices of a model's parameters, in the order of ``model.parameters()``.

    Args:
        names: Parameter names, as ``named_parameters`` gives them.
        shapes: One shape per parameter; a layer is one parameter tensor.
        prunable_layers: One flag per parameter: True for Conv and Linear weights, False for biases and norms.
        device: Where the derived index tensors live.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    prunable_layers: tuple[bool, ...]
    device: torch.device = field(default=torch.device("cpu"))

    @classmethod
    def of(cls, model: nn.Module) -> "Layout":
        """Return the layout of ``model``; its derived tensors follow the model's device."""
        weights = {id(m.weight) for m in model.modules() if isinstance(m, _PRUNABLE)}
        named = list(model.named_parameters())
        return cls(
            names=tuple(name for name, _ in named),
            shapes=tuple(parameter.shape for _, parameter in named),
            prunable_layers=tuple(id(parameter) in weights for _, parameter in named),
            device=named[0][1].device,
        )

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of parameters per layer."""
        return tuple(shape.numel() for shape in self.shapes)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """One slice of the flat vector per layer."""
        stops = [sum(self.sizes[: i + 1]) for i in range(len(self.sizes))]
        return tuple(slice(stop - size, stop) for stop, size in zip(stops, self.sizes, strict=True))

    @property
    def num_parameters(self) -> int:
        """``D``, the length of every flat vector."""
        return self.slices[-1].stop if self.slices else 0

    @cached_property
    def prunable(self) -> Tensor:
        """``[D]`` bool: True where a pruner may remove the parameter."""
        return self.spread(torch.tensor(self.prunable_layers, device=self.device))

    @cached_property
    def layer_ids(self) -> Tensor:
        """``[D]`` int64: the index of each parameter's layer."""
        return self.spread(torch.arange(len(self.sizes), device=self.device))

    def spread(self, per_layer: Tensor) -> Tensor:
        """Repeat one value per layer over its parameters: ``[layers]`` to ``[D]``."""
        repeats = torch.tensor(self.sizes, device=per_layer.device)
        return per_layer.repeat_interleave(repeats)

    def layers(self, flat: Tensor) -> Iterator[Tensor]:
        """Yield each layer's part of ``flat [..., D]`` as a view of shape ``[..., size]``."""
        return (flat[..., part] for part in self.slices)

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """Return ``{name: view}`` of ``flat [..., D]``, each in its parameter's shape; leading axes stay."""
        views = zip(self.names, self.shapes, self.layers(flat), strict=True)
        return {name: part.reshape(*part.shape[:-1], *shape) for name, shape, part in views}
