"""Which attack is the worst case: what a table shows first, and what a headline speaks of."""

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, Any]
# Smaller differences in PSNR lie within the spread of single victims and attack seeds.
RESOLUTION_DB = 2.0


def worst_first(attacks: Mapping[str, Figures]) -> dict[str, Any]:
    """Return the summaries of attacks, the worst case first.

    Args:
        attacks: Entries of :func:`priprune_plugins.privacy.summary.summarise` by name.
    """
    void = {name: not (figures.get("positive_control") or {}).get("passed") for name, figures in attacks.items()}
    return dict(sorted(attacks.items(), key=lambda item: severity(item[1], void[item[0]])))


def severity(figures: Figures, void: bool) -> tuple[float, ...]:
    """Return a sort key, lowest for the worst case.

    What a real server can do comes before what an attack reaches that was granted truth, an oracle last; void figures
    come after all. Then a picture, at least 2 dB above its best floor, is worse than a name out of many, and that worse
    than neither; of two pictures the higher NMI is worse, of two names the larger share of rank 1.

    Args:
        figures: One entry of the summary.
        void: Whether its positive control failed.
    """
    return (float(void), float(_granted(figures)), *_reach(figures))


def margin_db(figures: Figures) -> float | None:
    """Return how far the reconstructions lie above the best floor, in dB; None where unknown."""
    own = figures.get("psnr_db")
    floors = [floor["psnr_db"] for floor in (figures.get("floors") or {}).values() if floor.get("psnr_db") is not None]
    return None if own is None or not floors else own - max(floors)


def _granted(figures: Figures) -> int:
    given = figures.get("granted") or ()
    return 2 if "start" in given else 1 if given else 0


def _reach(figures: Figures) -> tuple[float, float]:
    nmi, top1, margin = figures.get("nmi") or 0.0, figures.get("top1_share") or 0.0, margin_db(figures)
    if margin is not None and margin >= RESOLUTION_DB:
        return 0.0, -nmi
    return (1.0, -top1) if top1 > 0 else (2.0, -nmi)
