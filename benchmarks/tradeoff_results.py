"""What the cells of a trade-off sweep say, per defence and seed: accuracy, and what every attacker got in each round.

Read from the cells' own ``privacy.jsonl`` and not from ``results.jsonl``, whose figures are means over rounds: a
defence may protect a client's first participation and not its tenth.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from priprune_plugins.privacy.controls import judge, judge_ranks

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Attacked:
    """What one attacker got in one round of one cell, means over the victims.

    Args:
        passed: Whether its positive control passed; where it did not, the figures say nothing.
        control_db: PSNR of the positive control; None where the attack gives no pictures.
        psnr_db: PSNR; None where it gives none.
        nmi: NMI of 16 grey levels; None where it gives no pictures.
        floor_db: Best floor of each victim by PSNR.
        floor_nmi: Best floor of each victim by NMI.
        top1: Share of victims whose image it ranked first; None where it ranks none.
        rank: Mean rank; None where it ranks none.
        mass: Share of the update's L1 mass withheld from it.
    """

    passed: bool
    control_db: float | None
    psnr_db: float | None
    nmi: float | None
    floor_db: float | None
    floor_nmi: float | None
    top1: float | None
    rank: float | None
    mass: float | None


@dataclass
class Outcome:
    """One setting with one seed.

    Args:
        name: Values of all axes but seed and attacks.
        seed: Its seed.
        accuracy: On the global test set after the last round.
        client_accuracy: On the clients' own test images; None where it was not measured.
        withheld: Share of the kept coordinates withheld, mean over rounds.
        attacks: By attacker and round.
    """

    name: str
    seed: int
    accuracy: float
    client_accuracy: float | None
    withheld: float
    attacks: dict[tuple[str, int], Attacked] = field(default_factory=dict)

    def worst(self, round_idx: int, figure: str = "nmi") -> float | None:
        """Return the highest figure that a realistic attacker with a passed control reached in a round."""
        found = [
            getattr(own, figure)
            for (name, number), own in self.attacks.items()
            if number == round_idx and own.passed and "oracle" not in name
        ]
        return max((value for value in found if value is not None), default=None)

    def over_floor(self, round_idx: int) -> float | None:
        """Return how many dB the worst attacker lies over the best floor of the same victims; negative below it."""
        worst = self.worst(round_idx, "psnr_db")
        floor = _mean(own.floor_db for (_, number), own in self.attacks.items() if number == round_idx)
        return None if worst is None or floor is None else worst - floor


def outcomes(folder: Path) -> list[Outcome]:
    """Return the settings of a sweep that are done, in the order of its file, cells that differ in attacks as one."""
    plan = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    cells = {path.name.rpartition("-")[2]: path for path in folder.glob("cells/*") if (path / "summary.json").is_file()}
    found: dict[tuple[str, int], Outcome] = {}
    for point in plan["points"]:
        if point["key"] in cells and not cells[point["key"]].name.endswith(".part"):
            _add(found, point, cells[point["key"]])
    return list(found.values())


def spread(values: Iterable[float | None]) -> tuple[float, float] | None:
    """Return mean and standard deviation (n - 1; 0 for one value) of the values that are there; None without any."""
    there = [value for value in values if value is not None]
    return (fmean(there), stdev(there) if len(there) > 1 else 0.0) if there else None


def by_name(found: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Return the seeds of each setting."""
    groups: dict[str, list[Outcome]] = {}
    for one in found:
        groups.setdefault(one.name, []).append(one)
    return groups


def _add(found: dict[tuple[str, int], Outcome], point: Mapping[str, Any], cell: Path) -> None:
    labels = {path: label for path, label in point["labels"].items() if path not in ("seed", "attacks")}
    name = ", ".join(
        label if path == "defenses" else f"{path.rpartition('.')[2]} {label}" for path, label in labels.items()
    )
    summary = json.loads((cell / "summary.json").read_text(encoding="utf-8"))
    seed = int(point["labels"]["seed"])
    outcome = found.setdefault(
        (name, seed),
        Outcome(name, seed, summary["accuracy"], summary.get("client_accuracy"), summary.get("withheld_rate") or 0.0),
    )
    lines = [json.loads(line) for line in (cell / "privacy.jsonl").read_text(encoding="utf-8").splitlines()]
    for key in dict.fromkeys((line["attack"], line["round"]) for line in lines):
        outcome.attacks[key] = _attacked([line for line in lines if (line["attack"], line["round"]) == key])


def _attacked(lines: Sequence[Line]) -> Attacked:
    victims = [line for line in lines if line["group"] != "control"]
    control = [line for line in lines if line["group"] == "control"]
    pictures = [line for line in control if line.get("psnr_db") is not None]
    verdict = (
        judge([line["psnr_db"] for line in pictures], [_floor(line, "psnr_db") or 0.0 for line in pictures])
        if pictures
        else judge_ranks([line["rank"] for line in control])
    )
    ranks = [line["rank"] for line in victims if line.get("rank") is not None]
    return Attacked(
        passed=verdict["passed"],
        control_db=verdict["psnr_db"],
        psnr_db=_mean(line.get("psnr_db") for line in victims),
        nmi=_mean(line.get("nmi") for line in victims),
        floor_db=_mean(_floor(line, "psnr_db") for line in victims),
        floor_nmi=_mean(_floor(line, "nmi") for line in victims),
        top1=fmean(rank == 1 for rank in ranks) if ranks else None,
        rank=_mean(ranks),
        mass=_mean(line.get("gradient_mass_withheld") for line in victims),
    )


def _floor(line: Line, figure: str) -> float | None:
    floors = line.get("floors") or {}
    return max((own[figure] for own in floors.values() if own.get(figure) is not None), default=None)


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
