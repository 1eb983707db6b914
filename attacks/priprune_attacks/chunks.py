"""Rows of a batch within a memory budget: split before, and halved when memory runs out all the same.

A chunk is a rectangle of victims times restarts. Only whole victims share a chunk, or some restarts of one victim.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from priprune_attacks.gradients import Gradients, PlainGradients
from priprune_attacks.local_steps import LocalSteps
from priprune_plugins import Facts

GIB = 1 << 30
_ONE_STEP = LocalSteps()
# Copies of every activation, unfolded inputs included, that a double backward keeps: two to three were measured on
# small nets and Conv-2 at batches of 1 to 20; the rest is slack for the allocator and for plain double backward.
_COPIES = 6
# Copies of a formed weight gradient that live at once.
_GRADIENT_COPIES = 4


@dataclass(frozen=True)
class Chunk:
    """Some victims times some restarts, by their indices."""

    victims: tuple[int, ...]
    restarts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.victims) * len(self.restarts)

    def halves(self) -> "tuple[Chunk, Chunk]":
        """Split the victims in two, or one victim's restarts."""
        if len(self.victims) > 1:
            half = len(self.victims) // 2
            return Chunk(self.victims[:half], self.restarts), Chunk(self.victims[half:], self.restarts)
        half = len(self.restarts) // 2
        return Chunk(self.victims, self.restarts[:half]), Chunk(self.victims, self.restarts[half:])


def chunks(num_victims: int, num_restarts: int, most_rows: int) -> list[Chunk]:
    """Cover all victims and restarts by chunks of at most ``most_rows`` rows, at least one row each."""
    restarts = tuple(range(num_restarts))
    per_chunk = most_rows // num_restarts
    if per_chunk >= 1:
        starts = range(0, num_victims, per_chunk)
        return [Chunk(tuple(range(s, min(s + per_chunk, num_victims))), restarts) for s in starts]
    size = max(1, most_rows)
    parts = [restarts[s : s + size] for s in range(0, num_restarts, size)]
    return [Chunk((victim,), part) for victim in range(num_victims) for part in parts]


def most_rows(
    gradients: Gradients,
    facts: Facts,
    num_images: int,
    num_restarts: int,
    max_gib: float,
    steps: LocalSteps = _ONE_STEP,
) -> int:
    """Return how many rows fit into ``max_gib``: an estimate, from the sizes of one image's activations.

    Args:
        gradients: The engine with its model.
        facts: Public facts.
        num_images: Images of one row.
        num_restarts: Rows of one victim, which share its target.
        max_gib: The budget.
        steps: Local steps that are unrolled, each with the graph of its own images.
    """
    point = next(gradients.model.parameters())
    parameters = facts.layout.num_parameters
    formed = parameters if isinstance(gradients, PlainGradients) else _convolution_weights(gradients.model)
    batches = [len(range(num_images)[chosen]) for chosen in steps.batches(num_images)]  # images of each step
    # At each step a Linear layer takes the inputs and deltas of all steps before.
    past = sum(sum(batches[:step]) for step in range(len(batches)))
    floats = _COPIES * sum(batches) * _activations(gradients.model, facts, point)
    floats += _GRADIENT_COPIES * len(batches) * formed + _COPIES * past * _linear_widths(gradients.model)
    # Target and mask belong to a victim, whose restarts share them.
    floats += 2 * parameters // num_restarts
    return max(1, int(max_gib * GIB / (floats * point.element_size())))


def run_in_halves(chunk: Chunk, work: Callable[[Chunk], None], fail: Callable[[Chunk, str], None]) -> None:
    """Do ``work(chunk)``; on out-of-memory halve the chunk, down to one row, which then fails with the reason."""
    try:
        work(chunk)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
    else:
        return
    if len(chunk) == 1:
        fail(chunk, f"out of memory with a single row: {reason}")
        return
    for half in chunk.halves():
        run_in_halves(half, work, fail)


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def _convolution_weights(model: nn.Module) -> int:
    return sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Conv2d))


def _linear_widths(model: nn.Module) -> int:
    return sum(m.in_features + m.out_features for m in model.modules() if isinstance(m, nn.Linear))


def _activations(model: nn.Module, facts: Facts, point: Tensor) -> int:
    """Count the numbers of one image's activations, unfolded inputs of convolutions included."""
    sizes: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        sizes.append(output.numel())
        if isinstance(module, nn.Conv2d):
            sizes.append(output[:, 0].numel() * module.weight[0].numel())

    leaves = [module for module in model.modules() if not any(module.children())]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        with torch.no_grad():
            model(facts.mean_image.to(point).expand(2, -1, -1, -1))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes) // 2
