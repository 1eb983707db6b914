"""The positive control: has the attacker been shown to work where nothing protects the images?

Without it a weak attacker makes every defence look private; where it fails, every figure of the attack is void.
"""

from collections.abc import Sequence
from typing import TypedDict

MARGIN_DB = 6.0
MIN_IMAGES = 3


class PositiveControl(TypedDict):
    """Means over the control images, whether the control passed, and the reason where it did not."""

    psnr_db: float | None
    best_floor_db: float | None
    passed: bool
    reason: str | None


def judge(psnr_per_image: Sequence[float], best_floor_per_image: Sequence[float]) -> PositiveControl:
    """Judge an attack that reconstructs: at least 6 dB over the best floor on at least half of 3 or more images.

    Args:
        psnr_per_image: PSNR of each control image (same attack, weights and data, nothing pruned or withheld), in dB.
        best_floor_per_image: The best floor of the same image, in dB.

    Raises:
        ValueError: The two differ in length.
    """
    wins = [got >= floor + MARGIN_DB for got, floor in zip(psnr_per_image, best_floor_per_image, strict=True)]
    reason = _reason(wins, f"at least {MARGIN_DB:g} dB over the best floor")
    return {
        "psnr_db": _mean(psnr_per_image),
        "best_floor_db": _mean(best_floor_per_image),
        "passed": reason is None,
        "reason": reason,
    }


def judge_ranks(ranks: Sequence[float]) -> PositiveControl:
    """Judge an attack that only identifies: rank 1 on at least half of 3 or more images.

    Args:
        ranks: Rank of the true image among the candidates, 1 = first.
    """
    reason = _reason([rank == 1 for rank in ranks], "rank 1")
    return {"psnr_db": None, "best_floor_db": None, "passed": reason is None, "reason": reason}


def _reason(wins: Sequence[bool], goal: str) -> str | None:
    if len(wins) < MIN_IMAGES:
        return f"{len(wins)} control images, at least {MIN_IMAGES} are needed"
    if 2 * sum(wins) < len(wins):
        return f"{goal} on {sum(wins)} of {len(wins)} images, at least half are needed"
    return None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
