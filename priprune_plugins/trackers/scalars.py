"""What trackers are given: the numbers of a round's record and of a finished run's attacks."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_OF_ATTACK = ("nmi", "psnr_db", "ssim", "top1_share", "median_rank")


def round_scalars(record: Mapping[str, Any], layers: Sequence[str]) -> dict[str, float]:
    """Return the finite numbers of a round's record, those of mappings and layers under ``name/inner``.

    Args:
        record: A line of rounds.jsonl; lists other than ``layer_density``, client ids for instance, are left out.
        layers: Names of the prunable layers, in the order of ``layer_density``.
    """
    density = record.get("layer_density")
    named = {"layer_density": dict(zip(layers, density, strict=False))} if isinstance(density, Sequence) else {}
    return {name: value for key, item in {**record, **named}.items() for name, value in _numbers(key, item)}


def attack_scalars(folder: Path) -> dict[str, float]:
    """Return the figures of each attack of a run that is done, with its best floor and its positive control.

    A figure whose control failed is void and is not given; ``control_passed`` then says 0 alone.

    Args:
        folder: The run folder, with its summary.json.
    """
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    found: dict[str, float] = {}
    for name, figures in summary["attacks"].items():
        passed = (figures.get("positive_control") or {}).get("passed") is True
        found[f"attack/{name}/control_passed"] = float(passed)
        floors = [floor.get("psnr_db") for floor in figures.get("floors", {}).values()]
        best = max((value for value in floors if value is not None), default=None)
        own = {**{figure: figures.get(figure) for figure in _OF_ATTACK}, "best_floor_psnr_db": best}
        found |= {
            key: value
            for figure, item in own.items()
            if passed
            for key, value in _numbers(f"attack/{name}/{figure}", item)
        }
    return found


def _numbers(name: str, value: Any) -> list[tuple[str, float]]:
    if isinstance(value, Mapping):
        return [found for key, item in value.items() for found in _numbers(f"{name}/{key}", item)]
    if isinstance(value, bool):
        return [(name, float(value))]
    return [(name, float(value))] if isinstance(value, int | float) and math.isfinite(value) else []
