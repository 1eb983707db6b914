"""How many weights each layer keeps: Erdős–Rényi kernels, by RigL's epsilon or as FedDST's code has it."""

import math
from typing import Literal

import torch

from priprune_plugins import Layout
from priprune_plugins.masks import num_pruned

Distribution = Literal["erk", "er", "uniform"]


def layer_budgets(layout: Layout, rate: float, distribution: Distribution = "erk") -> tuple[int, ...]:
    """Return how many weights each layer keeps, ``round(rate * N)`` of the ``N`` prunable ones gone in all.

    A layer's density is ``epsilon`` times its raw density; layers that would pass 1 become dense and ``epsilon`` is
    solved again for the others. Fractions are settled by largest remainder. Layers that may not be pruned keep all.

    Args:
        layout: Layout of the model.
        rate: Fraction of the prunable weights removed, in [0, 1).
        distribution: ``erk`` = ``(in + out + kernel sizes) / (in * out * kernel sizes)``, ``er`` without the kernel,
            ``uniform``.

    Reference: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, arXiv:1911.11134, section 3.
    """
    chosen = [i for i, prunable in enumerate(layout.prunable_layers) if prunable]
    total = sum(layout.sizes[i] for i in chosen)
    target = total - num_pruned(rate, total)
    wanted = {i: float(size) for i, size in enumerate(layout.sizes)}
    wanted |= _solved(layout, chosen, target, distribution)
    return _rounded(wanted, chosen, target)


def _solved(layout: Layout, chosen: list[int], target: int, distribution: Distribution) -> dict[int, float]:
    raw = {i: _raw_density(layout.shapes[i], distribution) for i in chosen}
    free, room = list(chosen), float(target)
    kept: dict[int, float] = {}
    while free:
        epsilon = room / sum(raw[i] * layout.sizes[i] for i in free)
        full = [i for i in free if epsilon * raw[i] >= 1]
        if not full:
            return kept | {i: epsilon * raw[i] * layout.sizes[i] for i in free}
        kept |= {i: float(layout.sizes[i]) for i in full}
        room -= sum(layout.sizes[i] for i in full)
        free = [i for i in free if i not in full]
    return kept


def _rounded(wanted: dict[int, float], chosen: list[int], target: int) -> tuple[int, ...]:
    counts = {i: math.floor(value + 1e-9) for i, value in wanted.items()}
    missing = target - sum(counts[i] for i in chosen)
    by_remainder = sorted(chosen, key=lambda i: counts[i] - wanted[i])
    for i in by_remainder[:missing]:
        counts[i] += 1
    return tuple(counts[i] for i in sorted(counts))


def _raw_density(shape: torch.Size, distribution: Distribution) -> float:
    if distribution == "uniform":
        return 1.0
    axes = shape if distribution == "erk" else shape[:2]
    return sum(axes) / math.prod(axes)


def feddst_budgets(layout: Layout, rate: float, distribution: Distribution = "erk") -> tuple[int, ...]:
    """Return the budgets that bibikar/feddst computes: they may be negative or above the layer's size.

    It scales the raw *sparsities* to the mean ``rate`` and counts each layer's bias among its weights. Layers that may
    not be pruned keep all. What the code then leaves is given by :func:`as_left_by_feddst`.
    """
    sizes, names = layout.sizes, layout.names
    owned = {i: _module_size(layout, i) for i, prunable in enumerate(layout.prunable_layers) if prunable}
    raw = {i: rate if distribution == "uniform" else 1 - _raw_density(layout.shapes[i], distribution) for i in owned}
    scale = rate * sum(owned.values()) / sum(raw[i] * owned[i] for i in owned) if rate else 0.0
    return tuple(math.floor((1 - scale * raw[i]) * owned[i]) if i in owned else sizes[i] for i in range(len(names)))


def as_left_by_feddst(layout: Layout, budgets: tuple[int, ...]) -> tuple[int, ...]:
    """Return the counts that bibikar/feddst leaves: a layer with a budget outside ``1 .. size`` stays dense."""
    return tuple(budget if 0 < budget <= size else size for budget, size in zip(budgets, layout.sizes, strict=True))


def _module_size(layout: Layout, index: int) -> int:
    module = layout.names[index].rpartition(".")[0]
    named = zip(layout.names, layout.sizes, strict=True)
    return sum(size for name, size in named if name.rpartition(".")[0] == module)
