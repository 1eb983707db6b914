"""The curves of a training: accuracy, loss, masks layer by layer, what was withheld, bytes and time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from priprune_plugins.report.chart import Chart, Point, Series
from priprune_plugins.report.numbers import short

Records = Sequence[Mapping[str, Any]]
_MOST_LAYERS = 6
_UNITS = (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("B", 1.0))


def training_charts(rounds: Records, timing: Records, layers: Sequence[str] = ()) -> list[Chart]:
    """Return the charts of a training that have something to draw.

    Args:
        rounds: Lines of ``rounds.jsonl``.
        timing: Lines of ``timing.jsonl``.
        layers: Names of the prunable layers, in the order of ``layer_density``; numbered where they are not known.
    """
    unit, factor = _unit(rounds)
    charts = [
        _shares("Accuracy on the global test set, and density", rounds, accuracy="accuracy", density="density"),
        Chart("Loss", "cross-entropy", _series(rounds, {"training": "loss", "test": "test_loss"})),
        *_mask_charts(rounds, layers),
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


def _mask_charts(rounds: Records, layers: Sequence[str]) -> list[Chart]:
    densities = [(float(r["round"]), r["layer_density"]) for r in rounds if _is_shares(r.get("layer_density"))]
    if all(share == 1 for _, shares in densities for share in shares):
        return []
    moved = _shares("Share of the server's mask that changed", rounds, changed="mask_change")
    return [_layer_chart(densities, layers), moved]


def _layer_chart(densities: Sequence[tuple[float, Sequence[float]]], layers: Sequence[str]) -> Chart:
    last = densities[-1][1]
    known = [name.removesuffix(".weight") for name in layers] if len(layers) == len(last) else []
    names = known or [f"layer {index}" for index in range(1, len(last) + 1)]
    # A page has six colours, and the layers that may die are those to watch.
    drawn = sorted(sorted(range(len(last)), key=lambda index: last[index])[:_MOST_LAYERS])
    series = [
        Series(
            names[index], [(number, shares[index]) for number, shares in densities if index < len(shares)], "line", c
        )
        for c, index in enumerate(drawn)
    ]
    some = f", the {len(drawn)} sparsest of {len(last)}" if len(last) > len(drawn) else ""
    return Chart(f"Density per layer{some}", "percent", series, top=1.0, number=percent)


def _is_shares(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(share, int | float) for share in value)


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
