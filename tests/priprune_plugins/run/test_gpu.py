"""The same run on a GPU; skipped where there is none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_a_run_on_a_gpu_agrees_with_the_run_on_cpu(run: Callable[..., Path]) -> None:
    figures = {}
    for device in ("cpu", "cuda"):
        folder = run(device, f"device={device}")
        figures[device] = json.loads((folder / "summary.json").read_text())
    assert figures["cuda"]["device"] == "cuda"
    assert figures["cuda"]["accuracy"] == pytest.approx(figures["cpu"]["accuracy"], abs=0.02)
    assert figures["cuda"]["withheld_rate"] == pytest.approx(figures["cpu"]["withheld_rate"], abs=1e-3)


def test_a_run_on_a_gpu_repeats_itself(run: Callable[..., Path]) -> None:
    first, second = run("a", "device=cuda", "attacks=[]"), run("b", "device=cuda", "attacks=[]")
    lines = [[json.loads(line) for line in (f / "rounds.jsonl").read_text().splitlines()] for f in (first, second)]
    for one, other in zip(*lines, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
