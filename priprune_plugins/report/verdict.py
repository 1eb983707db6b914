"""The verdict on each attack, worst case first; figures whose positive control failed are void."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from priprune_plugins.privacy.summary import summarise
from priprune_plugins.report.numbers import decibels, share

Attacks = Mapping[str, Mapping[str, Any]]
Lines = Sequence[Mapping[str, Any]]


# Smaller differences in PSNR lie within the spread of single victims and attack seeds.
RESOLUTION_DB = 2.0


@dataclass(frozen=True)
class Row:
    """One row of the verdict table.

    Args:
        attack: Name of the attack.
        where: Empty, or the one round that the row is about.
        figures: Its entry of ``summary.json``.
        void: Whether the positive control failed: no figure may be printed.
        best_floor: Name of the floor with the highest PSNR, or None.
    """

    attack: str
    where: str
    figures: Mapping[str, Any]
    void: bool
    best_floor: str | None

    @property
    def floor(self) -> Mapping[str, Any]:
        """PSNR and NMI of the best floor, empty where there is none."""
        return self.figures.get("floors", {}).get(self.best_floor, {}) if self.best_floor else {}

    @property
    def margin_db(self) -> float | None:
        """How far the reconstructions lie above the best floor, in dB; None where unknown."""
        own, floor = self.figures.get("psnr_db"), self.floor.get("psnr_db")
        return None if own is None or floor is None else own - floor


def rows(attacks: Attacks, lines: Lines) -> list[Row]:
    """Return the table's rows: valid ones by NMI, highest first, void ones last.

    Where the control of an attack failed in some rounds and passed in others, the attack's row is void and each
    round that passed gets a row of its own.
    """
    found = [row for name, figures in attacks.items() for row in (_row(name, figures), *_rounds(name, figures, lines))]
    return sorted(found, key=lambda row: (row.void, -(row.figures.get("nmi") or 0.0)))


def is_void(figures: Mapping[str, Any], round_idx: int | None = None) -> bool:
    """Return whether the figures of an attack, or those of one round, are void."""
    own = None if round_idx is None else figures.get("by_round", {}).get(str(round_idx), {}).get("control_passed")
    passed = (figures.get("positive_control") or {}).get("passed") if own is None else own
    return passed is not True


def finding(table: Sequence[Row]) -> str:
    """Return the verdict in a sentence or two: what the strongest valid attack got, and what that means."""
    if not table:
        return "No attack was measured, so nothing is known about privacy."
    valid = [row for row in table if not row.void]
    if not valid:
        return "No attack passed its positive control, so this run says nothing about privacy, neither good nor bad."
    worst = valid[0]
    if worst.figures.get("nmi") is None:
        first = share(worst.figures.get("top1_share"))
        return f"{worst.attack}{worst.where} puts the true image first in {first} of its victims."
    head = f"Worst case: {worst.attack}{worst.where} reconstructs at NMI {worst.figures['nmi']:.2f} "
    head += f"({worst.figures.get('nmi_levels')} grey levels), {decibels(worst.figures.get('psnr_db'))}"
    return head + _compared(worst.margin_db, worst.best_floor)


def _compared(margin: float | None, floor: str | None) -> str:
    if margin is None or floor is None:
        return "."
    name = floor.replace("_", " ")
    side = f": {abs(margin):.1f} dB {'above' if margin >= 0 else 'below'} the best floor, {name}."
    if margin >= RESOLUTION_DB:
        return f"{side} The uploads leak their images."
    return f"{side} This attacker shows no leak; that is no proof that a stronger one would not."


def _row(name: str, figures: Mapping[str, Any], where: str = "", void: bool | None = None) -> Row:
    known = {k: v["psnr_db"] for k, v in figures.get("floors", {}).items() if v.get("psnr_db") is not None}
    best = max(known, key=lambda key: known[key]) if known else None
    return Row(name, where, figures, is_void(figures) if void is None else void, best)


def _rounds(name: str, figures: Mapping[str, Any], lines: Lines) -> list[Row]:
    if not is_void(figures):
        return []
    passed = [int(number) for number in figures.get("by_round", {}) if not is_void(figures, int(number))]
    own = {number: [line for line in lines if line["attack"] == name and line["round"] == number] for number in passed}
    return [
        _row(name, summarise(of_round)[name], f", round {number}", void=False)
        for number, of_round in own.items()
        if of_round
    ]
