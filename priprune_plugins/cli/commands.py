"""What each command does; whatever needs torch is imported inside it."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from priprune_plugins.catalogue import KINDS, installed

_LIST_WIDTH = 140


def run(arguments: argparse.Namespace) -> None:
    """``priprune run``."""
    from priprune_plugins.cli.run_arguments import check_ray, crew_refused
    from priprune_plugins.errors import ScenarioError
    from priprune_plugins.scenario import read_scenario

    if refused := crew_refused(arguments):
        raise ScenarioError(refused)
    check_ray(arguments)
    # Before torch, which takes seconds to import: a typing error is answered at once.
    scenario = read_scenario(arguments.scenario, arguments.set)
    from priprune_plugins.run import run_scenario

    with _watched(arguments.quiet) as watcher, _crewed(arguments, scenario, watcher) as crew:
        folder = run_scenario(scenario, arguments.out, watcher, resume=arguments.resume, **crew)
    print(folder / "report.html")


def attack(arguments: argparse.Namespace) -> None:
    """``priprune attack``."""
    from priprune_plugins.catalogue import check_name
    from priprune_plugins.errors import ScenarioError
    from priprune_plugins.scenario.nodes import Node
    from priprune_plugins.scenario.overrides import overridden
    from priprune_plugins.scenario.selection import Selection

    options = overridden(Node({}, "--set"), arguments.set).plain()
    if arguments.attack is not None:
        check_name(Selection("attacks", arguments.attack, options, "--attack"))
    elif options:
        raise ScenarioError("--set gives options of an attack: name it with --attack")
    from priprune_plugins.run import attack_run, finish_attacks

    with _watched(arguments.quiet) as watcher:
        if arguments.attack is None:
            finish_attacks(arguments.run, watcher)
        else:
            attack_run(arguments.run, arguments.attack, options, watcher)
    print(arguments.run / "report.html")


def report(arguments: argparse.Namespace) -> None:
    """``priprune report``."""
    from priprune_plugins.errors import ScenarioError

    if arguments.plots:
        from priprune_plugins.report.plots import check_matplotlib

        check_matplotlib()
    if (arguments.run / "sweep.json").is_file():
        from priprune_plugins.report.sweep_page import write_sweep_report
        from priprune_plugins.sweep.results import write_results

        write_results(arguments.run)
        print(write_sweep_report(arguments.run, arguments.plots))
        return
    if not (arguments.run / "summary.json").is_file():
        raise ScenarioError(f"{arguments.run} is no run folder: it has no summary.json; give what priprune run made")
    from priprune_plugins.report import write_report

    print(write_report(arguments.run, arguments.plots))


def bound(arguments: argparse.Namespace) -> None:
    """``priprune bound``."""
    from priprune_plugins.cli.bound import bound as evaluate

    evaluate(arguments)


def agreement(arguments: argparse.Namespace) -> None:
    """``priprune agreement``."""
    from priprune_plugins.cli.agreement import agreement as correlate

    correlate(arguments)


def sweep(arguments: argparse.Namespace) -> int:
    """``priprune sweep``."""
    from priprune_plugins.cli.sweep import sweep as run_all

    return run_all(arguments)


def serve(arguments: argparse.Namespace) -> None:
    """``priprune serve``."""
    from priprune_plugins.cli.serve import serve as run_served

    run_served(arguments, _watched)


def join(arguments: argparse.Namespace) -> None:
    """``priprune join``."""
    from priprune_plugins.cli.join import join as take_part

    take_part(arguments, _watched)


def check(arguments: argparse.Namespace) -> None:
    """``priprune check``."""
    from priprune_plugins.cli.sweep import check_sweep, is_sweep
    from priprune_plugins.scenario import read_scenario

    if is_sweep(arguments.scenario):
        check_sweep(arguments.scenario, arguments.set)
        return
    scenario = read_scenario(arguments.scenario, arguments.set)
    from priprune_plugins.plugins import PluginHost
    from priprune_plugins.run.assemble import make_plugins, scenario_warnings
    from priprune_plugins.run.combinations import check_combinations

    plugins = make_plugins(scenario)
    check_combinations(scenario, plugins, PluginHost(plugins.hooked))
    for warning in scenario_warnings(scenario, plugins):
        print(f"priprune: warning: {warning}", file=sys.stderr)
    chosen = ", ".join(selection.name for selection in scenario.selections())
    print(f"{arguments.scenario} is valid: {chosen}")


def list_plugins(arguments: argparse.Namespace) -> None:
    """``priprune list``."""
    kinds = [arguments.kind] if arguments.kind else list(KINDS)
    found = [(kind, entry) for kind in kinds for entry in installed(kind)]
    if arguments.json:
        rows = [{"kind": kind, **vars(entry)} for kind, entry in found]
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("kind", "name", "distribution", "module:class"):
        table.add_column(column, no_wrap=True)
    for kind, entry in found:
        cells = (kind, entry.name, f"{entry.distribution} {entry.version}", entry.value)
        table.add_row(*(Text(cell) for cell in cells))
    # A terminal wraps what is too long; a table that wraps its own cells cannot be searched or copied.
    Console(width=max(Console().width, _LIST_WIDTH)).print(table)


def schema(arguments: argparse.Namespace) -> None:
    """``priprune schema``."""
    if arguments.file == "sweep":
        from priprune_plugins.sweep.schema import schema as chosen
    else:
        from priprune_plugins.scenario.schema import schema as chosen
    print(json.dumps(chosen(), indent=2))


def fetch(arguments: argparse.Namespace) -> None:
    """``priprune fetch``."""
    from priprune_plugins.cli.fetch import fetch_dataset

    print(fetch_dataset(arguments.dataset, arguments.root))


def new(arguments: argparse.Namespace) -> None:
    """``priprune new``."""
    from priprune_plugins.scaffold import write_plugin

    folder = write_plugin(arguments.kind, arguments.name, arguments.out)
    install = f"uv pip install --python {sys.executable} -e '.[test]'"
    print(f"wrote {folder}; next: cd {folder} && {install} && {sys.executable} -m pytest")


@contextmanager
def _crewed(arguments: argparse.Namespace, scenario: Any, watcher: Any) -> Iterator[dict[str, Any]]:
    """Give the crew that the arguments ask for, where they ask for one."""
    if arguments.ray is None:
        yield {}
        return
    from priprune_plugins.cluster.crew import RayCrew
    from priprune_plugins.cluster.workers import RayWorkers

    with RayWorkers(scenario, arguments.ray, arguments.workers, arguments.threads or 1, watcher) as workers:
        yield {"crew": partial(RayCrew, workers)}


@contextmanager
def _watched(quiet: bool) -> Iterator[Any]:
    """Give a watcher, and leave the terminal as it was, however the run ends."""
    if quiet:
        yield None
        return
    from priprune_plugins.cli.progress import ProgressWatcher

    watcher = ProgressWatcher(Console(stderr=True), Console())
    try:
        yield watcher
    finally:
        watcher.stop()
