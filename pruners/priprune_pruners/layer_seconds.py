"""How long a round takes per parameter of each layer: what PruneFL divides importance by."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor, nn

from priprune_plugins import Facts, Layout, ScenarioError

Seconds = Literal["counted", "measured"]

COMM_SECONDS = 5.56e-6
"""Seconds to send one parameter up and down in the FEMNIST configuration of jiangyuang/PruneFL."""

MULTIPLY_ADD_SECONDS = 9.6e-9
"""Seconds of one multiply-add, forward and backward: 1.93e-7 s per weight and batch of 20 of that net's first fc."""

CONSTANT_SHARE = 0.14
"""Constant time of a round over the time of all parameters: 6.25 s / 44.8 s in that configuration."""


def layer_seconds(given: Sequence[float] | Seconds, facts: Facts, comm: float = COMM_SECONDS) -> Tensor:
    """Return seconds per parameter and round of each layer, ``[layers]`` float64; 0 where not prunable.

    Args:
        given: One number per prunable layer in model order, or how to find them.
        facts: Model, batch size and local steps.
        comm: Seconds to communicate one parameter, where ``given`` is a word.

    Raises:
        ScenarioError: Another number of times than of prunable layers.
    """
    layout, steps = facts.layout, facts.steps(facts.batch_size)
    if given == "counted":
        return counted_seconds(facts.build_model(), layout, facts.image_shape, steps * facts.batch_size, comm)
    if given == "measured":
        images = facts.mean_image.cpu().expand(facts.batch_size, *facts.image_shape)
        return measured_seconds(facts.build_model(), layout, images, steps, comm)
    names = [name for name, prunable in zip(layout.names, layout.prunable_layers, strict=True) if prunable]
    if len(given) != len(names):
        raise ScenarioError(
            f"pruner.seconds: prunefl needs one number for each of {', '.join(names)} ({len(names)}), got {len(given)}"
        )
    return _per_layer(layout, {name: float(value) for name, value in zip(names, given, strict=True)})


def counted_seconds(
    model: nn.Module,
    layout: Layout,
    image_shape: Sequence[int],
    images: int,
    comm: float = COMM_SECONDS,
    multiply_add: float = MULTIPLY_ADD_SECONDS,
) -> Tensor:
    """Return seconds per parameter of each layer from its multiply-adds, ``[layers]`` float64; 0 where not prunable.

    A convolution's weight is used once per output position, a linear layer's once.

    Args:
        model: Gives the architecture.
        layout: Layout of ``model``.
        image_shape: ``(C, H, W)``.
        images: Images that a client passes through the net in a round, all steps together.
        comm: Seconds to communicate one parameter.
        multiply_add: Seconds of one multiply-add with its backward pass.
    """
    uses = _visited(model, layout, torch.zeros(1, *image_shape), lambda module, _, given: _positions(module, given))
    return _per_layer(layout, {name: comm + multiply_add * images * count for name, count in uses.items()})


def measured_seconds(
    model: nn.Module, layout: Layout, images: Tensor, steps: int, comm: float = COMM_SECONDS, repeats: int = 3
) -> Tensor:
    """Return seconds per parameter of each layer as this machine takes them, ``[layers]`` float64.

    Forward and backward of each layer alone on its real input, the fastest of ``repeats``; two runs differ.

    Args:
        model: Gives the architecture.
        layout: Layout of ``model``.
        images: ``[B, C, H, W]`` one batch.
        steps: Local steps a round.
        comm: Seconds to communicate one parameter.
        repeats: Measurements of each layer.
    """
    seconds = _visited(
        model, layout, images, lambda module, given, _: min(_seconds(module, given) for _ in range(repeats))
    )
    sizes = dict(zip(layout.names, layout.sizes, strict=True))
    return _per_layer(layout, {name: comm + steps * spent / sizes[name] for name, spent in seconds.items()})


def _visited(
    model: nn.Module, layout: Layout, images: Tensor, measure: Callable[[nn.Module, Tensor, Tensor], float]
) -> dict[str, float]:
    found: dict[str, float] = {}
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    prunable = {name for name, flag in zip(layout.names, layout.prunable_layers, strict=True) if flag}
    modules = [(f"{name}.weight" if name else "weight", module) for name, module in model.named_modules()]

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, given, out: calls.append((name, module, given[0].detach(), out.detach()))

    handles = [module.register_forward_hook(record(name)) for name, module in modules if name in prunable]
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    for name, module, given, out in calls:
        found[name] = found.get(name, 0.0) + measure(module, given, out)
    return found


def _positions(module: nn.Module, out: Tensor) -> float:
    # [B, out, positions...] after a convolution, [B, ..., out] after a linear layer.
    channels = out.shape[-1] if isinstance(module, nn.Linear) else out.shape[1]
    return out.numel() / channels / out.shape[0]


def _seconds(module: nn.Module, given: Tensor) -> float:
    leaf = given.clone().requires_grad_()
    begun = perf_counter()
    with torch.enable_grad():
        out = module(leaf)
        torch.autograd.grad(out, [leaf, *module.parameters()], torch.ones_like(out))
    return perf_counter() - begun


def _per_layer(layout: Layout, seconds: dict[str, float]) -> Tensor:
    return torch.tensor([seconds.get(name, 0.0) for name in layout.names], dtype=torch.float64)
