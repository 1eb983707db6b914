"""The verdict on each attack, worst case first; figures whose positive control failed are void."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from priprune_plugins.privacy.order import RESOLUTION_DB, margin_db, severity
from priprune_plugins.privacy.summary import summarise
from priprune_plugins.report.numbers import count, decibels, share

__all__ = ["RESOLUTION_DB", "Row", "finding", "is_void", "rows"]

Attacks = Mapping[str, Mapping[str, Any]]
Lines = Sequence[Mapping[str, Any]]
_GRANTS = {"start": "the weights that training started from", "labels": "the true labels"}


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
        return margin_db(self.figures)

    @property
    def granted(self) -> str:
        """What truth the attack was granted, in words; empty for one that a real server could run."""
        given = [_GRANTS.get(name, name) for name in self.figures.get("granted") or ()]
        return f"upper bound: knows {' and '.join(given)}" if given else ""

    @property
    def identified(self) -> str:
        """In how many uploads the true image came first, in words; empty where the attack ranks nothing."""
        return "" if self.figures.get("top1_share") is None else f"{share(self.figures['top1_share'])} first"


def rows(attacks: Attacks, lines: Lines) -> list[Row]:
    """Return the table's rows, the worst case first, see :func:`priprune_plugins.privacy.order.severity`.

    Where the control of an attack failed in some rounds and passed in others, the attack's row is void and each
    round that passed gets a row of its own. Else its worst round gets one, where that is worse than the mean of all.
    """
    found = [row for name, figures in attacks.items() for row in (_row(name, figures), *_rounds(name, figures, lines))]
    return sorted(found, key=lambda row: severity(row.figures, row.void))


def is_void(figures: Mapping[str, Any], round_idx: int | None = None) -> bool:
    """Return whether the figures of an attack, or those of one round, are void."""
    own = None if round_idx is None else figures.get("by_round", {}).get(str(round_idx), {}).get("control_passed")
    passed = (figures.get("positive_control") or {}).get("passed") if own is None else own
    return passed is not True


def finding(table: Sequence[Row]) -> str:
    """Return the verdict in a few sentences: what the strongest valid attacks got, and what that means.

    An attack that was granted truth is never the worst case; it is named after it, as the upper bound that it is.
    """
    if not table:
        return "No attack was measured, so nothing is known about privacy."
    valid = [row for row in table if not row.void]
    if not valid:
        return "No attack passed its positive control, so this run says nothing about privacy, neither good nor bad."
    servers, bounds = [row for row in valid if not row.granted], [row for row in valid if row.granted]
    if not servers:
        return f"No attack that a server could run passed its positive control. {_upper(bounds[0])}"
    pictures = [row for row in servers if row.figures.get("nmi") is not None]
    names = [row for row in servers if row.figures.get("nmi") is None]
    worst = sorted([*pictures[:1], *names[:1]], key=servers.index)
    said = [_name(row) if row in names else _picture(row) for row in worst]
    return " ".join([f"Worst case: {said[0]}", *said[1:], *(_upper(row) for row in bounds[:1])])


def _name(row: Row) -> str:
    first, chosen = share(row.figures.get("top1_share")), row.figures.get("candidates")
    among = f", out of {count(chosen)} candidates" if chosen else ""
    return f"{row.attack}{row.where} puts the true image first in {first} of its victims{among}."


def _upper(row: Row) -> str:
    reached = decibels(row.figures.get("psnr_db")) if row.figures.get("psnr_db") is not None else row.identified
    return f"{row.attack}{row.where}, which no server can run, reaches {reached} ({row.granted})."


def _picture(worst: Row) -> str:
    head = f"{worst.attack}{worst.where} reconstructs at NMI {worst.figures['nmi']:.2f} "
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
    found = _passed(name, figures, lines)
    if is_void(figures) or not found:
        return found
    worst = min(found, key=lambda row: severity(row.figures, False))
    return [worst] if severity(worst.figures, False) < severity(figures, False) else []


def _passed(name: str, figures: Mapping[str, Any], lines: Lines) -> list[Row]:
    passed = [int(number) for number in figures.get("by_round", {}) if not is_void(figures, int(number))]
    own = {number: [line for line in lines if line["attack"] == name and line["round"] == number] for number in passed}
    return [
        _row(name, summarise(of_round)[name], f", round {number}", void=False)
        for number, of_round in own.items()
        if of_round
    ]
