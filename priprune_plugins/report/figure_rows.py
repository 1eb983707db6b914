"""Which lines of a sweep's results a figure draws, and how they fall into panels, series and points."""

from collections.abc import Iterable, Sequence

from priprune_plugins.report.sweep_files import Row, SweepFiles
from priprune_plugins.sweep.columns import ATTACK, PRIVACY, SEED, of_attack
from priprune_plugins.sweep.figures import Figure, is_measure


def shown(files: SweepFiles, figure: Figure) -> list[Row]:
    """Return the lines that a figure draws; those whose positive control failed say nothing about privacy."""
    # Over rounds each round has a control of its own.
    keep_void = figure.over == "rounds"
    return [row for row in files.rows if figure.shows(row) and (keep_void or not is_void(figure, row))]


def is_void(figure: Figure, row: Row) -> bool:
    """Whether a figure would draw what a failed positive control makes void."""
    drawn = figure.kind == "reconstructions" or any(name in PRIVACY for name in (figure.x, figure.y))
    return drawn and row[ATTACK] is not None and row.get("control_passed") is not True


def void(files: SweepFiles, figure: Figure) -> int:
    """Return how many lines a figure leaves out because their positive control failed."""
    return sum(figure.shows(row) and is_void(figure, row) for row in files.rows) if figure.over == "cells" else 0


def panels(files: SweepFiles, figure: Figure, rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    """Return the title and the lines of each panel, in the order of the results."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        title = f"{figure.title}: {_named(files, row, figure.panels)}" if figure.panels else figure.title
        found.setdefault(title, []).append(row)
    return list(found.items())


def grouped(files: SweepFiles, figure: Figure, rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the lines of each series by its name, in the order of the results."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        name = ", ".join(_named(files, row, name) for name in figure.names)
        found.setdefault(name or figure.y.replace("_", " "), []).append(row)
    return found


def points(files: SweepFiles, figure: Figure, rows: Iterable[Row]) -> list[list[Row]]:
    """Return the lines of each point of one series, one line per seed."""
    found: dict[tuple[object, ...], dict[str, Row]] = {}
    for row in rows:
        if row.get(figure.y) is not None and row.get(str(figure.x)) is not None:
            # A run's own figure stands in the line of each of its attacks, and counts once.
            found.setdefault(_point(files, figure, row), {})[str(row["cell"])] = row
    return [list(own.values()) for own in found.values()]


def label(files: SweepFiles, row: Row, name: str) -> str:
    """Return the value of a column as the sweep's file names it."""
    return files.labels.get(str(row["cell"]), {}).get(name, str(row.get(name)))


def _named(files: SweepFiles, row: Row, name: str) -> str:
    """Return a value as a legend needs it: ``largest``, but ``rate=0.3``, for a number alone says nothing."""
    value = label(files, row, name)
    return f"{files.short.get(name, name)}={value}" if is_number(row.get(name)) else value


def _point(files: SweepFiles, figure: Figure, row: Row) -> tuple[object, ...]:
    if figure.x is None or not is_measure(figure.x):
        return (row.get(str(figure.x)),)
    attack = (row[ATTACK],) if of_attack(figure.y) or of_attack(figure.x) else ()
    return (*(label(files, row, path) for path in files.axes if path != SEED), *attack)


def x_names(files: SweepFiles, figure: Figure, rows: Sequence[Row]) -> list[str]:
    """Return the places of a horizontal axis that holds no numbers, in the order of the sweep's file."""
    name = figure.x
    if name is None or is_measure(name) or (figure.kind == "line" and all(is_number(row.get(name)) for row in rows)):
        return []
    there = dict.fromkeys(label(files, row, name) for row in rows)
    return [value for value in files.axes.get(name, there) if value in there]


def is_number(value: object) -> bool:
    """Whether a column's value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
