"""The curves of a training: accuracy, density, loss, what was withheld, bytes and time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from priprune_plugins.report.chart import Chart, Point, Series
from priprune_plugins.report.numbers import short

Records = Sequence[Mapping[str, Any]]
_UNITS = (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("B", 1.0))


def training_charts(rounds: Records, timing: Records) -> list[Chart]:
    """Return the charts of a training that have something to draw."""
    unit, factor = _unit(rounds)
    charts = [
        _shares("Accuracy on the global test set, and density", rounds, accuracy="accuracy", density="density"),
        Chart("Loss", "cross-entropy", _series(rounds, {"training": "loss", "test": "test_loss"})),
        _shares(
            "What the clients withheld",
            rounds,
            **{"coordinates": "withheld_rate", "gradient mass": "gradient_mass_withheld"},
        ),
        Chart(
            "Bytes sent in each round",
            unit,
            _series(rounds, {"up": "bytes_up", "down": "bytes_down"}, lambda value: value / factor),
        ),
        Chart("Time of each round", "seconds", _series(timing, {"seconds": "seconds"})),
    ]
    return [chart for chart in charts if chart.drawable()]


def points(records: Records, key: str, change: Callable[[float], float] = float) -> list[Point]:
    """Return ``(round, value)`` of the records that have a value."""
    return [(float(r["round"]), change(float(r[key]))) for r in records if isinstance(r.get(key), int | float)]


def percent(value: float) -> str:
    """Return a tick of a share as percent."""
    return f"{short(100 * value)} %"


def _shares(title: str, records: Records, **names: str) -> Chart:
    return Chart(title, "percent", _series(records, names), top=1.0, number=percent)


def _series(records: Records, names: Mapping[str, str], change: Callable[[float], float] = float) -> list[Series]:
    return [
        Series(name, points(records, key, change), colour=colour) for colour, (name, key) in enumerate(names.items())
    ]


def _unit(rounds: Records) -> tuple[str, float]:
    most = max([0.0, *(value for key in ("bytes_up", "bytes_down") for _, value in points(rounds, key))])
    return next(((name, factor) for name, factor in _UNITS if most >= factor), _UNITS[-1])
