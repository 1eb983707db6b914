"""Print a trade-off sweep as a Markdown table: a line per defence, worst case first, mean and spread over seeds.

python benchmarks/tradeoff_tables.py runs/tradeoff_digits --round 99
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from tradeoff_results import Outcome, by_name, outcomes, spread


def table(found: Sequence[Outcome], round_idx: int) -> list[str]:
    """Return the lines of a Markdown table, ordered by the NMI that the worst attacker reaches.

    Args:
        found: Settings with their seeds.
        round_idx: Round attacked.
    """
    names = list(dict.fromkeys(name for one in found for name, number in one.attacks if number == round_idx))
    head = [
        "setting",
        "seeds",
        "accuracy, %",
        "withheld",
        "mass",
        "worst NMI16",
        "worst PSNR",
        "over floor, dB",
        *names,
    ]
    groups = sorted(by_name(found).values(), key=lambda own: -(_middle(one.worst(round_idx) for one in own) or 0.0))
    rows = [_row(own, names, round_idx) for own in groups]
    return [_line(head), _line(["---"] * len(head)), *map(_line, rows)]


def floors(found: Sequence[Outcome], round_idx: int) -> str:
    """Return the floors of a round in one sentence."""
    own = [one for outcome in found for (_, number), one in outcome.attacks.items() if number == round_idx]
    decibels, nmi = spread(one.floor_db for one in own), spread(one.floor_nmi for one in own)
    assert decibels and nmi
    return f"Best floor, mean over victims: {decibels[0]:.1f} dB, NMI16 {nmi[0]:.2f}."


def controls(found: Sequence[Outcome], round_idx: int) -> str:
    """Return per attack how many of its positive controls passed."""
    texts = []
    for name in dict.fromkeys(name for one in found for name, number in one.attacks if number == round_idx):
        own = [one.attacks[name, round_idx] for one in found if (name, round_idx) in one.attacks]
        decibels = spread(one.control_db for one in own)
        mean = "" if decibels is None else f", {decibels[0]:.1f} dB"
        texts.append(f"{name} {sum(one.passed for one in own)} of {len(own)}{mean}")
    return f"Positive controls passed: {'; '.join(texts)}."


def _row(own: Sequence[Outcome], names: Sequence[str], round_idx: int) -> list[str]:
    masses = [one.mass for outcome in own for (_, number), one in outcome.attacks.items() if number == round_idx]
    return [
        own[0].name,
        str(len(own)),
        _cell((100 * one.accuracy for one in own), 1),
        _cell((one.withheld for one in own), 2, False),
        _cell(masses, 2, False),
        _cell((one.worst(round_idx) for one in own), 2),
        _cell((one.worst(round_idx, "psnr_db") for one in own), 1),
        _cell((one.over_floor(round_idx) for one in own), 1, False),
        *(_of_attack(own, name, round_idx) for name in names),
    ]


def _of_attack(own: Sequence[Outcome], name: str, round_idx: int) -> str:
    there = [one.attacks[name, round_idx] for one in own if (name, round_idx) in one.attacks]
    valid = [one for one in there if one.passed]
    if not valid:
        return "void" if there else ""
    if valid[0].top1 is not None:
        return f"{_cell((one.top1 for one in valid), 2, False)}"
    return f"{_cell((one.psnr_db for one in valid), 1, False)} / {_cell((one.nmi for one in valid), 2, False)}"


def _middle(values: Iterable[float | None]) -> float | None:
    found = spread(values)
    return None if found is None else found[0]


def _cell(values: Iterable[float | None], decimals: int, with_spread: bool = True) -> str:
    found = spread(values)
    if found is None:
        return "void"
    deviation = f" ± {found[1]:.{decimals}f}" if with_spread else ""
    return f"{found[0]:.{decimals}f}{deviation}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table of the folder and the round that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a sweep's folder")
    parser.add_argument("--round", type=int, required=True, help="round attacked")
    arguments = parser.parse_args()
    found = outcomes(arguments.folder)
    print("\n".join(table(found, arguments.round)))
    print(f"\n{floors(found, arguments.round)} {controls(found, arguments.round)}")


if __name__ == "__main__":
    main()
