"""Puts the report together: reads the run folder, writes ``report.html``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from priprune_plugins.privacy.summary import summarise
from priprune_plugins.report import headline, numbers
from priprune_plugins.report.bound_chart import bound_section
from priprune_plugins.report.chart import Chart, draw
from priprune_plugins.report.claims import claims
from priprune_plugins.report.extra_uploads import extra_uploads
from priprune_plugins.report.layer_table import layer_rows
from priprune_plugins.report.pictures import data_uri
from priprune_plugins.report.plots import write_plots
from priprune_plugins.report.privacy_charts import privacy_charts
from priprune_plugins.report.reconstructions import strips
from priprune_plugins.report.run_files import RunFiles, read_run
from priprune_plugins.report.training_charts import training_charts
from priprune_plugins.report.verdict import finding, rows


def write_report(folder: Path, plots: Sequence[str] = ()) -> Path:
    """Write ``report.html`` into a run folder, from the folder's own files and nothing else.

    The page needs no network and no script; every text that comes from a file is escaped.

    Args:
        folder: The run folder; files that are absent or damaged are named on the page.
        plots: Formats in which every plot of the page is written into ``plots/`` too: ``png``, ``pdf``.

    Returns:
        The path of the report.

    Raises:
        ScenarioError: The folder holds no file of a run, or plots are wanted and matplotlib is absent.
    """
    content = _content(read_run(folder))
    if plots:
        of_attacks = [chart for attack in content["attacks"].values() for chart in attack["charts"]]
        bound = content["bound"]["charts"] if content["bound"] else []
        write_plots(folder, [*of_attacks, *bound, *content["training"]], plots)
    return write_page("template.html", content, folder)


def write_page(name: str, content: Mapping[str, Any], folder: Path) -> Path:
    """Write a folder's ``report.html`` whole, and return its path.

    Args:
        name: Of the template.
        content: What the template shows.
        folder: The run's or the sweep's folder.
    """
    path = folder / "report.html"
    temporary = path.with_name("report.html.part")
    temporary.write_text(template(name).render(**content), encoding="utf-8")
    temporary.replace(path)
    return path


def template(name: str) -> Any:
    """Return a page's template; every text that is put into it is escaped."""
    loader = PackageLoader("priprune_plugins.report", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["numbers"] = numbers
    environment.filters["svg"] = draw
    environment.filters["picture"] = data_uri
    return environment.get_template(name)


def _content(run: RunFiles) -> dict[str, Any]:
    attacks = run.summary.get("attacks") or summarise(run.privacy)
    table = rows(attacks, run.privacy)
    worst_first = dict.fromkeys(row.attack for row in table)
    return {
        "name": run.summary.get("name") or run.scenario.get("name") or run.folder.resolve().name,
        "sentence": headline.sentence(run),
        "finding": finding(table),
        "tiles": headline.tiles(run),
        "warnings": headline.warnings(run),
        "table": table,
        "attacks": {name: _attack(run, name, attacks[name]) for name in worst_first},
        "claims": claims(run.summary),
        "layers": layer_rows(run),
        "bound": bound_section(run),
        "training": _training(run),
        "extras": extra_uploads(run.rounds, run.summary),
        "scenario_text": run.scenario_text,
        "versions": headline.versions(run),
        # Last: whatever reads a file above says here what it could not read.
        "notes": [*run.notes, *headline.unfinished(run)],
    }


def _training(run: RunFiles) -> list[Chart]:
    return training_charts(run.rounds, run.timing, run.summary.get("prunable_layers") or ())


def _attack(run: RunFiles, name: str, figures: Any) -> dict[str, Any]:
    return {
        "figures": figures,
        "charts": privacy_charts(name, figures, run.privacy),
        "strips": strips(run.folder, name, figures, run.privacy),
    }
