"""Chunks cover every row once, and an out-of-memory chunk is halved down to one row."""

import pytest
import torch

from priprune_attacks.chunks import Chunk, chunks, run_in_halves


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
