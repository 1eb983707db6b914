"""What a sweep was, in a sentence, its worst case, and the few figures that a reader looks for first."""

from collections.abc import Iterable, Sequence

from priprune_plugins.report import numbers
from priprune_plugins.report.sweep_files import Row, SweepFiles
from priprune_plugins.report.sweep_matrix import Matrix, Square
from priprune_plugins.report.verdict import RESOLUTION_DB


def sentence(files: SweepFiles) -> str:
    """Return how many cells, and over which axes."""
    axes = [f"{path} ({len(labels)})" for path, labels in files.axes.items()]
    listed = ", ".join(axes)
    return f"{numbers.count(len({point['key'] for point in files.points}))} cells over {listed}."


def tiles(files: SweepFiles) -> list[tuple[str, str, str]]:
    """Return ``(name, value, remark)`` of the figures at the head of the page."""
    cells = {point["key"] for point in files.points}
    runs = {row["key"]: row for row in files.rows}
    left = len(cells) - len(runs) - len(files.failed)
    seconds = sum(row.get("seconds") or 0 for row in runs.values())
    measured = [row for row in files.rows if row["attack"] is not None]
    passed = sum(row.get("control_passed") is True for row in measured)
    return [
        ("Cells done", f"{len(runs)} of {len(cells)}", f"{len(files.failed)} failed, {left} not run"),
        ("Accuracy", _range(runs.values(), "accuracy"), "lowest to highest cell"),
        ("Withheld", _range(runs.values(), "withheld_rate"), "of the coordinates that the mask leaves"),
        ("Controls passed", f"{passed} of {len(measured)}", "attacks on cells; the others are void"),
        ("Uploaded", numbers.size(sum(row.get("bytes_up") or 0 for row in runs.values())), "in all cells"),
        ("Time", numbers.duration(seconds), "sum over cells, each with its training"),
    ]


def finding(found: Sequence[Matrix]) -> str:
    """Return the strongest valid leak of the sweep, and the square that leaks least to its strongest attacker."""
    squares = [(matrix, key, square) for matrix in found for key, square in matrix.squares.items()]
    if not squares:
        return "No attack was measured, so nothing is known about privacy."
    valid = [(matrix, key, square) for matrix, key, square in squares if square.margin_db is not None]
    if not valid:
        return "No attack passed its positive control with a picture, so this sweep ranks nothing."
    matrix, key, square = max(valid, key=lambda entry: entry[2].mean("nmi") or 0.0)
    return f"Worst case: {matrix.attack} on {_place(matrix, key)}, {_figures(square)} {_least(valid)}"


def _least(valid: Iterable[tuple[Matrix, tuple[str, str], Square]]) -> str:
    strongest: dict[tuple[str, tuple[str, str]], tuple[Matrix, tuple[str, str], Square]] = {}
    for entry in valid:
        matrix, key, square = entry
        known = strongest.get((matrix.where, key))
        if known is None or (square.mean("nmi") or 0.0) > (known[2].mean("nmi") or 0.0):
            strongest[matrix.where, key] = entry
    if len(strongest) < 2:
        return ""
    matrix, key, square = min(strongest.values(), key=lambda entry: entry[2].mean("nmi") or 0.0)
    return f"Against the strongest attacker of each, the least leaks from {_place(matrix, key)}, {_figures(square)}"


def _place(matrix: Matrix, key: tuple[str, str]) -> str:
    where = f" ({matrix.where})" if matrix.where else ""
    return f"pruner {key[0]}, defence {key[1]}{where}"


def _figures(square: Square) -> str:
    margin = square.margin_db or 0.0
    side = "above" if margin >= 0 else "below"
    shown = f"NMI {numbers.decimal(square.mean('nmi'))}, {abs(margin):.1f} dB {side} the best floor"
    leak = "" if margin >= RESOLUTION_DB else " (no leak shown)"
    return f"{shown}{leak}, at accuracy {numbers.share(square.accuracy)}."


def _range(rows: Iterable[Row], figure: str) -> str:
    values = [row[figure] for row in rows if row.get(figure) is not None]
    if not values:
        return numbers.NONE
    low, high = min(values), max(values)
    if numbers.share(low) == numbers.share(high):
        return numbers.share(low)
    return f"{100 * low:.1f}\u2013{numbers.share(high)}"
