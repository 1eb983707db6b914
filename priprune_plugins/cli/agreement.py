"""``priprune agreement``: reads the lines of several runs, correlates, prints tables or JSON."""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from priprune_plugins.bounds.document import FILE
from priprune_plugins.errors import ScenarioError
from priprune_plugins.privacy.agreement import (
    BOUND,
    MEASURES,
    TARGETS,
    Agreement,
    Attacked,
    Correlation,
    attacked_uploads,
    method_means,
)
from priprune_plugins.privacy.agreement import agreement as agree
from priprune_plugins.run.folder import read_lines

_FIGURES = (*MEASURES, *TARGETS, BOUND)
_WIDTH = 140


def agreement(arguments: argparse.Namespace) -> None:
    """Correlate the figures of the run folders that the arguments name and print the result.

    Raises:
        ScenarioError: No run folder, or nothing that could be correlated.
    """
    uploads: list[Attacked] = []
    levels: dict[int, Path] = {}
    names = _names(arguments.runs)
    for folder, name in names.items():
        lines = list(read_lines(folder / "privacy.jsonl"))
        if not lines:
            raise ScenarioError(f"{folder} has no line in privacy.jsonl: give run folders that were attacked")
        levels |= {line["nmi_levels"]: folder for line in lines if line.get("nmi_levels")}
        uploads += attacked_uploads(
            name, lines, _bounds(folder), arguments.attack, arguments.identify, arguments.with_void
        )
    _check(uploads, levels)
    found = agree(uploads)
    if arguments.json:
        print(json.dumps({"uploads": len(uploads), **asdict(found)}, indent=2))
        return
    _print_agreement(found, uploads)


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    seen = Counter(folder.resolve().name for folder in folders)
    return {
        folder: str(folder) if seen[folder.resolve().name] > 1 else folder.resolve().name
        for folder in dict.fromkeys(folders)
    }


def _bounds(folder: Path) -> dict[int, float]:
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        points = json.loads(path.read_text(encoding="utf-8"))["points"]
        return {point["round"]: point["printed"]["total"] for point in points}
    except (ValueError, LookupError, TypeError) as error:
        raise ScenarioError(f"{path} is damaged: priprune bound {folder} writes it anew") from error


def _check(uploads: Sequence[Attacked], levels: Mapping[int, Path]) -> None:
    if len(levels) > 1:
        both = ", ".join(f"{count} in {folder}" for count, folder in sorted(levels.items()))
        raise ScenarioError(
            f"NMI at different grey levels cannot be compared: {both}; measure at one privacy.nmi_levels"
        )
    if not uploads:
        raise ScenarioError(
            "no reconstructed upload counts: every positive control failed, or --attack names none that reconstructs; "
            "see the reports, or --with-void"
        )


def _print_agreement(found: Agreement, uploads: Sequence[Attacked]) -> None:
    console = Console(highlight=False)
    # A terminal wraps what is too long; a table that wraps its own cells cannot be searched or copied.
    console = Console(width=max(console.width, _WIDTH), highlight=False)
    methods = method_means(uploads)
    console.print(Text(f"{len(uploads)} uploads, {len(methods)} methods; KL and rank are turned: more = leaks more"))
    console.print(_correlations(found.by_upload, found.by_method))
    console.print(Text("methods: figure and place, 1 = leaks most"))
    console.print(_methods(found, methods))
    if found.nearest_to_bound:
        nearest = ", ".join(found.nearest_to_bound)
        console.print(Text(f"the printed bound orders the methods most like: {nearest} (Kendall)"))
    else:
        console.print(Text("bound: not compared; it needs 3 methods that differ in it, priprune bound writes it"))
    console.print(Text("note: uploads of one method are not independent, so no p-values are given"))


def _correlations(by_upload: Sequence[Correlation], by_method: Sequence[Correlation]) -> Table:
    table = _table("figure", "with", "Spearman", "Kendall", "uploads", "Spearman", "Kendall", "methods")
    for over, of in zip(by_upload, by_method, strict=True):
        cells = [over.first, over.second]
        for c in (over, of):
            cells += [_figure(c.spearman, 2), _figure(c.kendall, 2), str(c.pairs)]
        table.add_row(*map(Text, cells))
    return table


def _methods(found: Agreement, methods: Sequence[Attacked]) -> Table:
    table = _table("method", *_FIGURES)
    for method in methods:
        places = found.order[method.method]
        cells = [
            f"{_figure(method.figures[figure], 3)} ({places[figure]:g})" if figure in places else "-"
            for figure in _FIGURES
        ]
        table.add_row(Text(method.method), *map(Text, cells))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _figure(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
