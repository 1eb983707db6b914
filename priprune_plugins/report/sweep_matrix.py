"""The matrix of a sweep: per attack, what it gets under each pruner (rows) and defence (columns)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from priprune_plugins.report.sweep_files import Row, SweepFiles
from priprune_plugins.report.verdict import RESOLUTION_DB

SEED = "seed"
# Steps of the shading, in dB over the best floor: the first is where a leak shows at all.
_STEPS_DB = (RESOLUTION_DB, 6.0, 12.0)


@dataclass(frozen=True, eq=False)
class Square:
    """One pruner under one defence, the mean over seeds.

    Args:
        rows: Its lines of results.jsonl, one per seed.
    """

    rows: Sequence[Row]

    @property
    def valid(self) -> list[Row]:
        """The lines whose positive control passed; figures are means over these."""
        return [row for row in self.rows if row.get("control_passed") is True]

    @property
    def void(self) -> bool:
        """Whether no line's control passed."""
        return not self.valid

    def mean(self, figure: str) -> float | None:
        """Return the mean of an attack's figure over the valid lines that have it."""
        return _mean(self.valid, figure)

    def spread(self, figure: str) -> float | None:
        """Return the standard deviation over seeds, None for fewer than two."""
        values = _values(self.valid, figure)
        return stdev(values) if len(values) > 1 else None

    @property
    def accuracy(self) -> float | None:
        """The mean accuracy, of lines with a void attack too: training knows of no attack."""
        return _mean(self.rows, "accuracy")

    @property
    def margin_db(self) -> float | None:
        """How far the guesses lie over the best floor."""
        return _mean([{"margin": margin_db(row)} for row in self.valid], "margin")

    @property
    def level(self) -> int | None:
        """How dark the square is drawn: 0 = at the floor, up to 3; None where there is no margin."""
        margin = self.margin_db
        return None if margin is None else sum(margin >= step for step in _STEPS_DB)


@dataclass(frozen=True, eq=False)
class Matrix:
    """One attack at one combination of the other axes.

    Args:
        attack: Name of the attack.
        where: The other axes' values in words, empty where there are none.
        pruners: Names of the rows.
        defenses: Names of the columns.
        squares: By pruner and defence; missing where no cell is done.
    """

    attack: str
    where: str
    pruners: list[str]
    defenses: list[str]
    squares: Mapping[tuple[str, str], Square]


def matrices(files: SweepFiles) -> list[Matrix]:
    """Return the matrices that have a measured attack, in the order of the results."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in files.rows:
        if row["attack"] is not None:
            groups.setdefault((str(row["attack"]), others_of(files, row)), []).append(row)
    return [_matrix(files, attack, where, rows) for (attack, where), rows in groups.items()]


def pruner_of(files: SweepFiles, row: Row) -> str:
    """Return the pruner of a line with the values of its axes: ``random rate=0.3``."""
    return _named(files, row, "pruner")


def defense_of(files: SweepFiles, row: Row) -> str:
    """Return the defences of a line with the values of their axes."""
    return _named(files, row, "defenses")


def others_of(files: SweepFiles, row: Row) -> str:
    """Return the values of all other axes but the seed, in words."""
    others = [path for path in files.axes if path != SEED and not _of(path, "pruner") and not _of(path, "defenses")]
    return files.in_words(row, others)


def margin_db(row: Row) -> float | None:
    """Return how far the guesses of a line lie over its best floor."""
    own, floor = row.get("psnr_db"), row.get("best_floor_psnr_db")
    return None if own is None or floor is None else own - floor


def _matrix(files: SweepFiles, attack: str, where: str, rows: Sequence[Row]) -> Matrix:
    squares: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        squares.setdefault((pruner_of(files, row), defense_of(files, row)), []).append(row)
    pruners, defenses = (list(dict.fromkeys(key[place] for key in squares)) for place in (0, 1))
    return Matrix(attack, where, pruners, defenses, {key: Square(own) for key, own in squares.items()})


def _named(files: SweepFiles, row: Row, kind: str) -> str:
    inner = [path for path in files.axes if path != kind and _of(path, kind)]
    return " ".join(filter(None, [str(row.get(kind)), files.in_words(row, inner)]))


def _of(path: str, kind: str) -> bool:
    return path == kind or path.startswith((f"{kind}.", f"{kind}["))


def _values(rows: Iterable[Mapping[str, Any]], figure: str) -> list[float]:
    return [float(row[figure]) for row in rows if row.get(figure) is not None]


def _mean(rows: Iterable[Mapping[str, Any]], figure: str) -> float | None:
    values = _values(rows, figure)
    return fmean(values) if values else None
