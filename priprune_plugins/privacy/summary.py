"""From the lines of ``privacy.jsonl`` to one entry per attack of ``summary.json``."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from priprune_plugins.privacy.controls import PositiveControl, judge, judge_ranks
from priprune_plugins.privacy.floors import best_floor_db

Line = Mapping[str, Any]
CONTROL = "control"
FIGURES = (
    "attack_loss",
    "nmi",
    "psnr_db",
    "ssim",
    "mse",
    "label_accuracy",
    "kl",
    "min_entropy",
    "withheld_rate",
    "gradient_mass_withheld",
)


def summarise(lines: Iterable[Line]) -> dict[str, dict[str, Any]]:
    """Return one summary per attack, in the order in which the attacks first appear.

    Args:
        lines: Lines of ``privacy.jsonl``; those of group ``control`` feed ``positive_control`` and nothing else.

    Returns:
        Per attack: ``victims`` and ``failed`` (counts of uploads), the mean of every figure over all victims, failed
        ones included, ``nmi_levels``, ``granted`` (the truth that the attack was given beyond what a server holds),
        ``notes`` (means), ``floors``, ``positive_control``, ``by_round``; and, where the attack ranks candidates,
        ``median_rank``, ``top1_share`` and ``candidates``, the fewest that a rank is out of. A figure that no victim
        has is None.
    """
    attacks: dict[str, list[Line]] = {}
    for line in lines:
        attacks.setdefault(str(line["attack"]), []).append(line)
    return {name: _attack(of_attack) for name, of_attack in attacks.items()}


def positive_control(lines: Sequence[Line]) -> PositiveControl:
    """Judge the control lines of one attack, each round on its own.

    The control passes where it passes in every round that has control images: an attacker that works at
    initialisation and not after training has not been shown to work after training.
    """
    rounds = {number: _judge(own) for number, own in by_round([line for line in lines if is_control(line)]).items()}
    if not rounds:
        return judge([], [])
    failing = {number: verdict["reason"] for number, verdict in rounds.items() if not verdict["passed"]}
    return {
        "psnr_db": _mean([verdict["psnr_db"] for verdict in rounds.values()]),
        "best_floor_db": _mean([verdict["best_floor_db"] for verdict in rounds.values()]),
        "passed": not failing,
        "reason": _failing(failing),
    }


def mean_floors(lines: Iterable[Line]) -> dict[str, dict[str, float | None]]:
    """Return each floor's mean figures over ``lines``."""
    all_floors = [line.get("floors") or {} for line in lines]
    names = dict.fromkeys(name for floors in all_floors for name in floors)
    return {
        name: {
            figure: _mean([floors[name].get(figure) for floors in all_floors if name in floors])
            for figure in ("psnr_db", "nmi")
        }
        for name in names
    }


def mean_of(lines: Iterable[Line], figure: str) -> float | None:
    """Return the mean of one figure over the lines that have it, or None."""
    return _mean([line.get(figure) for line in lines])


def by_round(lines: Iterable[Line]) -> dict[int, list[Line]]:
    """Return the lines of each round, rounds ascending."""
    rounds: dict[int, list[Line]] = {}
    for line in lines:
        rounds.setdefault(int(line["round"]), []).append(line)
    return dict(sorted(rounds.items()))


def is_control(line: Line) -> bool:
    """Return whether the line belongs to the positive control."""
    return bool(line["group"] == CONTROL)


def _attack(lines: Sequence[Line]) -> dict[str, Any]:
    victims = [line for line in lines if not is_control(line)]
    return {
        "victims": len(victims),
        "failed": sum(line.get("failed") is not None for line in victims),
        **{figure: mean_of(victims, figure) for figure in FIGURES},
        "nmi_levels": next((line["nmi_levels"] for line in lines if line.get("nmi_levels")), None),
        "granted": next((line["granted"] for line in lines if line.get("granted")), []),
        **_ranks(victims),
        "notes": _notes(victims),
        "floors": mean_floors(victims),
        "positive_control": positive_control(lines),
        "by_round": _rounds(lines, victims),
    }


def _rounds(lines: Sequence[Line], victims: Sequence[Line]) -> dict[str, dict[str, Any]]:
    controls = by_round([line for line in lines if is_control(line)])
    return {
        str(number): {
            "psnr_db": mean_of(own, "psnr_db"),
            "nmi": mean_of(own, "nmi"),
            "control_passed": _judge(controls[number])["passed"] if number in controls else None,
        }
        for number, own in by_round(victims).items()
    }


def _judge(controls: Sequence[Line]) -> PositiveControl:
    pictures = [line for line in controls if line.get("psnr_db") is not None and line.get("floors")]
    if pictures:
        return judge([line["psnr_db"] for line in pictures], [best_floor_db(line["floors"]) for line in pictures])
    return judge_ranks([line["rank"] for line in controls if line.get("rank") is not None])


def _failing(reasons: Mapping[int, str | None]) -> str | None:
    if not reasons:
        return None
    first, *others = reasons
    also = f"; fails in rounds {', '.join(map(str, others))} too" if others else ""
    return f"round {first}: {reasons[first]}{also}"


def _ranks(victims: Sequence[Line]) -> dict[str, float | None]:
    ranks = [line["rank"] for line in victims if line.get("rank") is not None]
    if not ranks:
        return {}
    out_of = [line["candidates"] for line in victims if line.get("candidates") is not None]
    return {
        "median_rank": median(ranks),
        "top1_share": fmean(rank == 1 for rank in ranks),
        "candidates": min(out_of, default=None),
    }


def _notes(victims: Sequence[Line]) -> dict[str, float | None]:
    notes = [line.get("notes") or {} for line in victims]
    return {
        name: _mean([own.get(name) for own in notes]) for name in dict.fromkeys(name for own in notes for name in own)
    }


def _mean(values: Iterable[float | None]) -> float | None:
    there = [float(value) for value in values if value is not None and math.isfinite(value)]
    return fmean(there) if there else None
