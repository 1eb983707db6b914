"""The pictures that a sweep's file asks for: what an attack made of one victim in each cell, below the truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from priprune_plugins.privacy.summary import by_round, is_control, summarise
from priprune_plugins.report.figure_rows import grouped, label, shown
from priprune_plugins.report.numbers import decibels, decimal
from priprune_plugins.report.reconstructions import pictures_of, stem
from priprune_plugins.report.run_files import json_lines
from priprune_plugins.report.sweep_files import Row, SweepFiles
from priprune_plugins.report.verdict import is_void
from priprune_plugins.sweep.columns import ATTACK
from priprune_plugins.sweep.figures import Figure


@dataclass(frozen=True, eq=False)
class Picture:
    """One victim.

    Args:
        place: Its value on the horizontal axis, in words.
        truth: ``[C, H, W]`` in [0, 1].
        guess: Same shape.
        caption: The figure asked for.
        victim: Round and client.
    """

    place: str
    truth: Tensor
    guess: Tensor
    caption: str
    victim: str


@dataclass(frozen=True, eq=False)
class Sheet:
    """The pictures of one figure.

    Args:
        title: What they show, in words.
        x_label: What stands along the rows.
        rows: By series, one picture per place of the horizontal axis.
    """

    title: str
    x_label: str
    rows: Mapping[str, list[Picture]]


def figure_sheet(files: SweepFiles, figure: Figure) -> Sheet:
    """Return the pictures of a figure: in every cell the first victim of the last round whose control passed.

    Args:
        files: The sweep's folder, with its cells.
        figure: Of kind ``reconstructions``; its ``y`` is what the captions say.

    Returns:
        A row per series, in it one picture per place of ``x``, of the first seed that has one.
    """
    found: dict[str, list[Picture]] = {}
    for series, rows in grouped(files, figure, shown(files, figure)).items():
        places: dict[str, Picture] = {}
        for row in rows:
            place = label(files, row, str(figure.x))
            picture = None if place in places else _picture(files, row, figure.y, place)
            if picture is not None:
                places[place] = picture
        if places:
            found[series] = list(places.values())
    return Sheet(figure.title, str(figure.x), found)


def _picture(files: SweepFiles, row: Row, measure: str, place: str) -> Picture | None:
    cell = files.folder / "cells" / Path(str(row["folder"])).name
    attack = str(row[ATTACK])
    everything = json_lines(cell / "privacy.jsonl", files.notes, ("attack", "round", "group"))
    lines = [line for line in everything if line["attack"] == attack]
    if not lines:
        return None
    figures = summarise(lines)[attack]
    rounds = by_round([line for line in lines if not is_control(line)])
    valid = [own for number, own in rounds.items() if not is_void(figures, number)]
    line: Mapping[str, Any] | None = min(valid[-1], key=stem) if valid else None
    pictures = None if line is None else pictures_of(cell, attack, line)
    if line is None or pictures is None:
        return None
    value = line.get(measure)
    caption = decibels(value) if measure == "psnr_db" else f"NMI {decimal(value)}"
    truth, guess = pictures
    return Picture(place, truth[0], guess[0], caption, f"round {line['round']}, client {line.get('client')}")
