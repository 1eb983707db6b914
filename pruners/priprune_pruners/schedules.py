"""When and how much: the share of survivors that goes at one event, densities on the way, the cosine of FedDST."""

import math
from typing import Literal

Path = Literal["exponential", "linear"]


def event_rate(kept: int, total: int, rate: float, fraction: float) -> float:
    """Return the share of the survivors that goes at one event on the way to ``rate``.

    Args:
        kept: Survivors now.
        total: All prunable parameters.
        rate: Fraction of ``total`` removed in the end; ``round(rate * total)`` is never passed.
        fraction: Most that goes at one event, as a share of the survivors.

    Returns:
        A share in [0, fraction]; 0 once the rate is reached.
    """
    missing = round(rate * total) - (total - kept)
    return 0.0 if missing <= 0 else min(fraction, missing / kept)


def density_at(step: int, steps: int, rate: float, path: Path = "exponential") -> float:
    """Return the density after ``step`` of ``steps`` steps from 1 to ``1 - rate``.

    Reference: Tanaka, Kunin, Yamins, Ganguli, "Pruning neural networks without any data by iteratively conserving
    synaptic flow", NeurIPS 2020, arXiv:2006.05467, Algorithm 1 (exponential); its code has the linear path too.
    """
    density = 1 - rate
    return density ** (step / steps) if path == "exponential" else 1 - rate * step / steps


def cosine_decay(step: int, alpha: float, end: int) -> float:
    """Return ``alpha / 2 * (1 + cos(pi * step / end))``, and 0 from ``end`` on.

    Reference: Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery", ICML 2020, arXiv:1911.11134, section 3.
    """
    return 0.0 if step >= end else alpha / 2 * (1 + math.cos(math.pi * step / end))
