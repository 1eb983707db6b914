"""Curves over the rounds of a sweep's cells, a line per series, means over seeds round by round."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from priprune_plugins.privacy.summary import by_round, is_control, mean_floors, mean_of, summarise
from priprune_plugins.report.chart import Chart
from priprune_plugins.report.figure_rows import grouped
from priprune_plugins.report.measure_axes import axis_of
from priprune_plugins.report.reduction import reduced
from priprune_plugins.report.run_files import Record, json_lines
from priprune_plugins.report.series import Series
from priprune_plugins.report.sweep_files import Row, SweepFiles
from priprune_plugins.report.verdict import is_void
from priprune_plugins.sweep.columns import ATTACK, OF_ROUND_PRIVACY, OF_ROUND_TIMING
from priprune_plugins.sweep.figures import Figure

Values = Mapping[int, float]


def round_chart(files: SweepFiles, figure: Figure, title: str, rows: Sequence[Row], colours: Sequence[str]) -> Chart:
    """Return one panel of curves.

    Args:
        files: The sweep's folder.
        figure: What is asked for.
        title: Of the panel.
        rows: The lines of the results that the panel shows; their cells hold the rounds.
        colours: The figure's series in all panels; the place of a name is its colour.
    """
    groups = grouped(files, figure, rows)
    found = {
        name: [values_by_round(files, row, figure.y) for row in _once(own, figure.y)] for name, own in groups.items()
    }
    levels = next((row["nmi_levels"] for row in rows if row.get("nmi_levels")), None)
    axis = axis_of(figure.y, [v for curves in found.values() for curve in curves for v in curve.values()], levels)
    series = []
    for name, curves in found.items():
        by_seed = _together(curves)
        means = {number: reduced([v / axis.factor for v in own], figure.reduce) for number, own in by_seed.items()}
        points = [(float(number), mean.value) for number, mean in means.items()]
        ranges = [(mean.low, mean.high) for mean in means.values()]
        series.append(Series(name, points, colour=colours.index(name), y_ranges=ranges))
    floors = _together([floors_by_round(files, row, figure.y) for row in _once(rows, figure.y)])
    floor = Series("best floor", [(float(number), fmean(own)) for number, own in floors.items()], "floor")
    return Chart(title, axis.label, [floor, *series], number=axis.number)


def values_by_round(files: SweepFiles, row: Row, measure: str) -> dict[int, float]:
    """Return a figure of each round of one cell that has it; privacy only where the round's control passed.

    Args:
        files: The sweep's folder.
        row: A line of the results.
        measure: A column of rounds.jsonl or timing.jsonl, or a privacy figure, of the line's attack then.
    """
    if measure in OF_ROUND_PRIVACY:
        found = {number: mean_of(own, measure) for number, own in _valid(files, row).items()}
    else:
        file = "timing.jsonl" if measure in OF_ROUND_TIMING else "rounds.jsonl"
        records = json_lines(_cell(files, row) / file, files.notes, ("round",))
        found = {int(record["round"]): record.get(measure) for record in records}
    return {number: float(value) for number, value in found.items() if isinstance(value, int | float)}


def floors_by_round(files: SweepFiles, row: Row, measure: str) -> dict[int, float]:
    """Return the highest floor of a privacy figure in each round of one cell; nothing for any other figure."""
    if measure not in ("psnr_db", "nmi"):
        return {}
    floors = {number: mean_floors(own).values() for number, own in _valid(files, row).items()}
    known = {number: [floor[measure] for floor in own] for number, own in floors.items()}
    return {number: max(v for v in own if v is not None) for number, own in known.items() if any(own)}


def _valid(files: SweepFiles, row: Row) -> dict[int, list[Mapping[str, object]]]:
    lines = json_lines(_cell(files, row) / "privacy.jsonl", files.notes, ("attack", "round", "group"))
    own: list[Record] = [line for line in lines if line["attack"] == row[ATTACK]]
    if not own:
        return {}
    figures = summarise(own)[str(row[ATTACK])]
    victims = by_round([line for line in own if not is_control(line)])
    return {number: of_round for number, of_round in victims.items() if not is_void(figures, number)}


def _cell(files: SweepFiles, row: Row) -> Path:
    # Only a cell of this sweep: a damaged line names no file elsewhere.
    return files.folder / "cells" / Path(str(row["folder"])).name


def _once(rows: Iterable[Row], measure: str) -> list[Row]:
    """Return one line per cell, and per attack where the figure is an attack's."""
    attacks = measure in OF_ROUND_PRIVACY
    return list({(row["cell"], row[ATTACK] if attacks else None): row for row in rows}.values())


def _together(curves: Iterable[Values]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for curve in curves:
        for number, value in curve.items():
            found.setdefault(number, []).append(value)
    return dict(sorted(found.items()))
