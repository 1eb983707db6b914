"""The figures of a sweep: what its file asks the report to draw from the results.

Importing this module does not import torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from priprune_plugins.sweep.columns import MEASURES

ROUND = "round"
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Drawn:
    """How a figure is drawn.

    Args:
        title: What it shows, in words.
        kind: ``line``; ``scatter``, a marker per combination of the axes; ``bar``, grouped; ``reconstructions``, a
            table of pictures, each truth above its guess.
        x: An axis of the sweep, ``pruner``, ``defenses`` or ``attack``; for a line or a scatter also a figure of
            results.csv, ``accuracy`` for instance. Always the round where ``over`` is ``rounds``.
        y: A figure of results.csv, or of each round where ``over`` is ``rounds``; ``psnr_db`` or ``nmi``
            below pictures.
        series: What tells lines, markers, bars or rows of pictures apart: an axis, or several.
        panels: What tells charts apart that stand side by side: an axis, ``pruner``, ``defenses`` or ``attack``.
        reduce: ``mean`` over seeds, with the standard deviation; or ``median``, with lowest and highest.
        over: ``cells``: the figures of whole runs; ``rounds``: a curve over the rounds of each.
    """

    title: str
    y: str = "psnr_db"
    x: str | None = None
    kind: Literal["line", "scatter", "bar", "reconstructions"] = "line"
    series: str | tuple[str, ...] = ()
    panels: str | None = None
    reduce: Literal["mean", "median"] = "mean"
    over: Literal["cells", "rounds"] = "cells"


@dataclass(frozen=True)
class Figure(Drawn):
    """One figure of a sweep.

    Args:
        where: Per column, the values of the lines that are drawn; all columns named must agree.
        place: ``file:line: figures[i]``, for errors.
    """

    where: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    place: str = field(default="figures", compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of its series."""
        return (self.series,) if isinstance(self.series, str) else tuple(self.series)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Every column that tells its points apart, in the order x, series, panels."""
        chosen = (self.x, *self.names, self.panels)
        return tuple(name for name in chosen if name is not None and not is_measure(name))

    def shows(self, row: Mapping[str, Any]) -> bool:
        """Whether a line of the results is drawn in it."""
        return all(any(_same(row.get(name), value) for value in values) for name, values in self.where.items())


def is_measure(name: str) -> bool:
    """Whether a column is a measured figure, and not what a cell is."""
    return name in MEASURES or name == ROUND


def _same(one: Any, other: Any) -> bool:
    # Python takes true for 1.
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)
