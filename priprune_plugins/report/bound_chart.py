"""The bounds of a run, where ``bound.json`` is there: their curves over the rounds and over the rate, and a table."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from priprune_plugins.bounds.document import FILE
from priprune_plugins.bounds.theorem import Bound, GradientLaw, corrected, theorem_1
from priprune_plugins.report.chart import Chart, Series
from priprune_plugins.report.run_files import RunFiles

_RATES = [step / 20 for step in range(20)]
_UNIT = "bits; ranks nothing"


def bound_section(run: RunFiles) -> dict[str, Any] | None:
    """Return what the report's section on bounds shows, or None without ``bound.json``; a damaged one is noted.

    Args:
        run: The run folder's files.
    """
    path = run.folder / FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        charts = bound_charts(content["points"])
        shown = {name: content[name] for name in ("about", "points", "warnings", "theorem_4_2")}
        return {**shown, "charts": charts}
    except (ValueError, LookupError, TypeError):
        run.notes.append(f"{path.name} is damaged and was left out.")
        return None


def bound_charts(points: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return the bound over the captured rounds, where there are several, and over the rate at the last one.

    Args:
        points: ``points`` of ``bound.json``.
    """
    rounds = [point for point in points if point["round"] is not None]
    over_rounds = Chart(
        "Theorem 1 over the captured rounds",
        _UNIT,
        [
            Series(name, [(point["round"], point[name]["total"]) for point in rounds], colour=colour)
            for colour, name in enumerate(("printed", "corrected"))
        ],
    )
    over_rate = _over_rate(points[-1])
    return [over_rounds, over_rate] if len(rounds) > 1 else [over_rate]


def _over_rate(point: Mapping[str, Any]) -> Chart:
    law = GradientLaw(point["d_star"], point["delta"])
    at = "" if point["round"] is None else f", gradients of round {point['round']}"

    def curve(of: Callable[[float, int, GradientLaw], Bound]) -> list[tuple[float, float]]:
        return [(rate, of(rate, point["batch_size"], law).total) for rate in _RATES]

    return Chart(
        f"Theorem 1 over the pruning rate{at}",
        _UNIT,
        [Series("printed", curve(theorem_1)), Series("corrected", curve(corrected), colour=1)],
        x_label="pruning rate p",
    )
