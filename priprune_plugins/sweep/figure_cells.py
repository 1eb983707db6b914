"""Whether the cells of a plan give every figure its points, and each point one combination of the axes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from priprune_plugins.errors import ScenarioError
from priprune_plugins.sweep.columns import ATTACK, SEED, identity, of_attack
from priprune_plugins.sweep.figures import Figure, is_measure
from priprune_plugins.wording import guess, shown

if TYPE_CHECKING:
    from priprune_plugins.sweep.plan import Cell

Row = dict[str, Any]


def check_figures(figures: Iterable[Figure], cells: "Sequence[Cell]") -> None:
    """Check figures against what the cells will give, before anything runs.

    A figure is reduced over seeds and nothing else: a mean over rates or defences that nobody asked for would be no
    figure of any of them.

    Args:
        figures: The sweep's figures.
        cells: The plan's cells.

    Raises:
        ScenarioError: A figure shows no cell, or a point of it would mix cells that differ in more than their seed.
    """
    rows = [row for cell in cells for row in _rows(cell)]
    for figure in figures:
        _check_shown(figure, rows)
        _check_unmixed(figure, [row for row in rows if figure.shows(row)])


def _rows(cell: "Cell") -> Iterator[Row]:
    """Yield what the lines of the results will be about, one per point and attack."""
    for point in cell.points:
        about = identity(cell.document, {path: value.column for path, value in point.values.items()})
        yield from ({**about, ATTACK: attack} for attack in cell.attacks or (None,))


def _check_shown(figure: Figure, rows: Sequence[Row]) -> None:
    for name, values in figure.where.items():
        there = {row.get(name): None for row in rows}
        unknown = next((value for value in values if value not in there), None)
        if unknown is not None:
            known = [str(value) for value in there if value is not None]
            meant = guess(str(unknown), known) or ";"
            raise ScenarioError(
                f"{figure.place}.where: no cell has {name} {shown(unknown)}{meant} there are {', '.join(known)}"
            )
    shown_rows = [row for row in rows if figure.shows(row)]
    if not shown_rows:
        raise ScenarioError(f"{figure.place}.where leaves no cell of the sweep; remove a condition")
    if _needs_attack(figure) and all(row[ATTACK] is None for row in shown_rows):
        raise ScenarioError(f"{figure.place} draws an attack's figure, and no cell that it shows has an attack")


def _check_unmixed(figure: Figure, rows: Sequence[Row]) -> None:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in figure.dimensions), []).append(row)
    for group in groups.values():
        mixed = _mixed(figure, group)
        if mixed is not None:
            values = ", ".join(str(value) for value in {row[mixed]: None for row in group})
            raise ScenarioError(
                f"{figure.place}: one point would mix {mixed} {values}; name {mixed} in series or panels, "
                f"or choose one with where: {{{mixed}: ...}}"
            )


def _mixed(figure: Figure, group: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the first column in which cells that make one point differ, or None."""
    if figure.x is not None and figure.kind in ("line", "scatter") and figure.over == "cells" and is_measure(figure.x):
        # Each combination of the axes is a point of its own; two attacks on one cell would not be told apart.
        names = [ATTACK]
    else:
        names = [name for name in group[0] if name != SEED]
    counted = [name for name in names if name != ATTACK or _needs_attack(figure)]
    return next((name for name in counted if len({row[name] for row in group}) > 1), None)


def _needs_attack(figure: Figure) -> bool:
    if figure.kind == "reconstructions":
        return True
    return any(of_attack(name) for name in (figure.x, figure.y) if name is not None)
