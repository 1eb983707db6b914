"""Chunks cover every row once, and an out-of-memory chunk is halved down to one row."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from priprune_attacks.chunks import GIB, Chunk, chunks, most_rows, run_in_halves
from priprune_attacks.gradients import TargetBatch, gradients_of
from priprune_attacks.local_steps import LocalSteps
from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import Target


@pytest.mark.parametrize(("victims", "restarts", "rows"), [(5, 3, 6), (5, 3, 2), (1, 9, 4), (7, 1, 100), (2, 3, 0)])
def test_chunks_cover_every_row_once_within_the_limit(victims: int, restarts: int, rows: int) -> None:
    parts = chunks(victims, restarts, rows)
    covered = [(v, r) for part in parts for v in part.victims for r in part.restarts]
    assert sorted(covered) == [(v, r) for v in range(victims) for r in range(restarts)]
    assert max(len(part) for part in parts) <= max(1, rows)


def test_out_of_memory_halves_down_to_the_row_that_does_not_fit() -> None:
    done: list[tuple[int, int]] = []
    failed: list[tuple[Chunk, str]] = []

    def work(chunk: Chunk) -> None:
        rows = [(v, r) for v in chunk.victims for r in chunk.restarts]
        if len(rows) > 2 or (1, 0) in rows:
            raise torch.OutOfMemoryError("CUDA out of memory.\nmore")
        done.extend(rows)

    run_in_halves(Chunk((0, 1, 2), (0, 1)), work, lambda chunk, why: failed.append((chunk, why)))
    assert sorted(done) == [(0, 0), (0, 1), (1, 1), (2, 0), (2, 1)]
    ((chunk, why),) = failed
    assert (chunk.victims, chunk.restarts) == ((1,), (0,))
    assert why == "out of memory with a single row: CUDA out of memory."


def test_another_error_passes_through() -> None:
    def work(chunk: Chunk) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        run_in_halves(Chunk((0,), (0,)), work, lambda chunk, why: None)


def saved_bytes(work: Callable[[], object]) -> int:
    """The bytes of all tensors that autograd keeps for the backward pass of ``work``, shared ones once."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        alive = work()
    del alive
    return sum(kept.values())


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize(("num_images", "steps"), [(1, 1), (5, 1), (1, 6), (5, 3), (6, 12)])
def test_the_budget_covers_what_a_chunk_keeps_also_over_local_steps(
    rate: float, num_images: int, steps: int, new_scene: Callable[..., Any]
) -> None:
    scene, victims = new_scene(rate=rate), 4
    local = LocalSteps(steps, 0.01, 3, scene.mask)
    size = scene.facts.layout.num_parameters
    draws = torch.Generator().manual_seed(0)
    gradients = torch.randn(victims, size, generator=draws)
    kept = torch.ones(size, dtype=torch.bool) if scene.mask is None else scene.mask
    targets = TargetBatch([Target(scene.broadcast, g * kept, scene.mask, local) for g in gradients], scene.facts.layout)
    engine = gradients_of(model_at(scene.facts, scene.broadcast, {}), scene.facts.layout, (1, 28, 28), 62)
    images = torch.rand(victims, 1, num_images, 1, 28, 28, generator=draws).requires_grad_()
    labels = torch.full((victims, 1, num_images, 62), 1 / 62)

    needed = saved_bytes(lambda: engine.products(images, labels, targets))
    budget = 1.0
    rows = most_rows(engine, scene.facts, num_images, 1, budget, local)
    assert needed / victims * rows <= budget * GIB
    assert rows > 1
