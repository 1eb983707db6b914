"""Draw a trade-off sweep: accuracy against what the worst realistic attacker gets, a marker per family of defences.

    python benchmarks/tradeoff_figures.py runs/tradeoff_digits docs/tradeoff_digits.png --round 99 --title "Digits"

Needs matplotlib, the extra ``plots``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tradeoff_results import Outcome, by_name, outcomes, spread

# Family by how a setting's name begins: marker and colour, told apart without colours too.
FAMILIES = {
    "none": ("*", "#222222"),
    "random": ("o", "#2a78b8"),
    "mix": ("s", "#2a9d63"),
    "largest": ("^", "#c8553d"),
    "priprune": ("D", "#7a4fb0"),
    "release": ("P", "#a67c00"),
    "dp": ("X", "#777777"),
}


def draw(axes: Axes, found: Sequence[Outcome], round_idx: int, figure: str, label: str) -> None:
    """Draw one panel: means over seeds with their deviations, pseudo-pruning hollow, the best floor dashed."""
    drawn = []
    for name, own in by_name(found).items():
        across, up = spread(100 * one.accuracy for one in own), spread(one.worst(round_idx, figure) for one in own)
        if across is not None and up is not None:
            marker, colour = FAMILIES[name.split()[0]]
            filled = "white" if name.endswith("pseudo") else colour
            axes.errorbar(
                *(across[0], up[0], up[1], across[1]),
                fmt=marker,
                color=colour,
                markerfacecolor=filled,
                markersize=6,
                elinewidth=0.8,
            )
            drawn.append((up[0], across[0], name, colour))
    _name(axes, drawn)
    attacked = [one for outcome in found for (_, number), one in outcome.attacks.items() if number == round_idx]
    floor = spread(one.floor_nmi if figure == "nmi" else one.floor_db for one in attacked)
    if floor is not None:
        axes.axhline(floor[0], color="#555555", linestyle="--", linewidth=0.9, label="best floor")
    axes.set(xlabel="accuracy on the global test set, %", ylabel=label)
    axes.margins(x=0.22)
    axes.grid(alpha=0.25)


def _name(axes: Axes, drawn: Sequence[tuple[float, float, str, str]]) -> None:
    # From below to above, on either side in turn: neighbours are many, and their names would lie on each other.
    for index, (up, across, name, colour) in enumerate(sorted(drawn)):
        short = " ".join(word for word in name.split()[1:] if word != "pseudo")
        side = 1 if index % 2 else -1
        axes.annotate(
            short,
            (across, up),
            (6 * side, -2),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            fontsize=6.5,
            color=colour,
        )


def legend(axes: Axes, found: Sequence[Outcome]) -> None:
    """Name the families drawn, the hollow markers and the floor."""
    for family, (marker, colour) in FAMILIES.items():
        if any(one.name.split()[0] == family for one in found):
            axes.plot([], [], marker, color=colour, label=family)
    if any(one.name.endswith("pseudo") for one in found):
        axes.plot([], [], "o", color="#222222", markerfacecolor="white", label="hollow: pseudo-pruning")
    axes.legend(fontsize=7, frameon=False, loc="best")


def main() -> None:
    """Draw the folder that the command line names into a PNG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a sweep's folder")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    parser.add_argument("--round", type=int, required=True, help="round attacked")
    parser.add_argument("--title", default="", help="the title")
    arguments = parser.parse_args()
    found = outcomes(arguments.folder)
    figure = Figure(figsize=(10, 4.6), facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    draw(left, found, arguments.round, "nmi", "NMI16 of the worst attacker")
    draw(right, found, arguments.round, "psnr_db", "PSNR of the worst attacker, dB")
    legend(left, found)
    figure.suptitle(arguments.title, fontsize=10)
    figure.savefig(arguments.picture, dpi=150, metadata={"Software": None})
    print(arguments.picture)


if __name__ == "__main__":
    main()
