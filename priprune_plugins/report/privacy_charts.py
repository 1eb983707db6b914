"""Privacy per round of one attack: PSNR and NMI, every victim a dot, the floors as dashed lines."""

from collections.abc import Mapping, Sequence
from typing import Any

from priprune_plugins.privacy.summary import by_round, is_control, mean_floors, mean_of
from priprune_plugins.report.chart import Chart, Series
from priprune_plugins.report.training_charts import points
from priprune_plugins.report.verdict import is_void

Lines = Sequence[Mapping[str, Any]]
_AXES = {"psnr_db": ("PSNR", None), "nmi": ("NMI", 0.5)}


def privacy_charts(attack: str, figures: Mapping[str, Any], lines: Lines) -> list[Chart]:
    """Return the charts of one attack; rounds whose positive control failed are not drawn.

    Args:
        attack: Name of the attack.
        figures: Its entry of ``summary.json``.
        lines: Lines of ``privacy.jsonl``.
    """
    victims = [line for line in lines if line["attack"] == attack and not is_control(line)]
    valid = [line for line in victims if not is_void(figures, line["round"])]
    levels = figures.get("nmi_levels")
    charts = [_chart(attack, figure, valid, levels) for figure in _AXES]
    return [chart for chart in charts if chart.drawable()]


def _chart(attack: str, figure: str, lines: Lines, levels: Any) -> Chart:
    name, top = _AXES[figure]
    unit = "dB" if figure == "psnr_db" else f"at {levels} grey levels"
    rounds = by_round(lines)
    means = [{"round": number, figure: mean_of(own, figure)} for number, own in rounds.items()]
    dots = Series("victims", sorted(points(lines, figure)), kind="dots")
    series = [*_floors(figure, rounds), dots, Series(attack, points(means, figure))]
    return Chart(f"{name} of {attack}", f"{unit}; higher leaks more", series, top=top)


def _floors(figure: str, rounds: Mapping[int, Lines]) -> list[Series]:
    floors = {number: mean_floors(own) for number, own in rounds.items()}
    names = dict.fromkeys(floor for of_round in floors.values() for floor in of_round)
    values = {
        name: [{"round": number, figure: own.get(name, {}).get(figure)} for number, own in floors.items()]
        for name in names
    }
    return [Series(name.replace("_", " "), points(own, figure), kind="floor") for name, own in values.items()]
