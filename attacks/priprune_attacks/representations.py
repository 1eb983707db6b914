"""What a model computes on the way: the input or the output of one of its modules, and nothing after it."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import torch
from torch import Tensor, nn

from priprune_plugins import ScenarioError

Side = Literal["input", "output"]


class _Reached(Exception):  # noqa: N818 - not an error: it ends a forward pass early
    """The module was reached; what follows it need not be computed."""


def representation(model: nn.Module, layer: str, images: Tensor, side: Side = "output") -> Tensor:
    """Return what the module named ``layer`` takes or gives for ``images [N, C, H, W]``, differentiable in them.

    Raises:
        ScenarioError: The model has no such module, or its forward pass does not come by.
    """
    taken: list[Tensor] = []

    def take_input(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        taken.append(inputs[0])
        raise _Reached

    def take_output(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        taken.append(output)
        raise _Reached

    module = named_module(model, layer)
    input_side = side == "input"
    hook = module.register_forward_pre_hook(take_input) if input_side else module.register_forward_hook(take_output)
    try:
        with suppress(_Reached):
            model(images)
    finally:
        hook.remove()
    if not taken:
        raise ScenarioError(f"attack: layer {layer!r} is not used by the model's forward pass; name another one")
    return taken[0]


def representations(
    model: nn.Module, layer: str, images: Tensor, side: Side = "output", mixing: bool = False
) -> Tensor:
    """Return the representations ``[V, R, B, ...]`` of ``images [V, R, B, C, H, W]``.

    Args:
        model: The model.
        layer: Name of the module.
        images: Rows of B images each.
        side: Input or output of the module.
        mixing: Images of one forward pass influence each other (batch norm in training mode): one pass per row.
    """
    if mixing:
        found = torch.cat([representation(model, layer, row, side) for row in images.flatten(0, 1)])
    else:
        found = representation(model, layer, images.flatten(0, 2), side)
    return found.reshape(*images.shape[:3], *found.shape[1:])


def mixes_its_batch(model: nn.Module, layer: str, image_shape: Sequence[int], side: Side = "output") -> bool:
    """Return whether an image's representation depends on the other images of its pass."""
    point = next(model.parameters())
    images = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0)).to(point)
    with torch.no_grad():
        together = representation(model, layer, images, side)
        alone = representation(model, layer, images[:1], side)
    return not torch.allclose(together[:1], alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()))


def named_module(model: nn.Module, layer: str) -> nn.Module:
    """Return the module of that name.

    Raises:
        ScenarioError: The model has no such module.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if layer not in modules or not layer:
        options = ", ".join(name for name, module in modules.items() if not any(module.children()))
        raise ScenarioError(f"attack: layer must name a module of the model, got {layer!r}; it has: {options}")
    return modules[layer]


def pixelwise(model: nn.Module, layer: str, image_shape: Sequence[int]) -> tuple[Tensor, Tensor] | None:
    """Return ``(shift, slope)`` where the input of ``layer`` is ``shift + slope * pixels``, flattened; else None.

    So it is for a network of Linear layers alone: its first layer takes the standardised image itself.
    """
    point = next(model.parameters())
    noise = torch.rand(1, *image_shape, generator=torch.Generator().manual_seed(0)).to(point)
    probes = torch.cat([torch.zeros_like(noise), torch.ones_like(noise), noise])
    with torch.no_grad():
        taken = representation(model, layer, probes, "input").flatten(1)
    if taken.shape[1] != noise.numel():
        return None
    shift, slope = taken[0], taken[1] - taken[0]
    same = torch.allclose(taken[2], shift + slope * noise.flatten(), rtol=1e-4, atol=1e-5)
    return (shift, slope) if same and bool((slope != 0).all()) else None
