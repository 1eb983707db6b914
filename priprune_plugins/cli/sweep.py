"""``priprune sweep``."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from priprune_plugins.cli.run_arguments import check_ray
from priprune_plugins.errors import Interrupted, ScenarioError

if TYPE_CHECKING:
    from priprune_plugins.sweep.executor import Executor
    from priprune_plugins.sweep.folder import SweepFolder
    from priprune_plugins.sweep.plan import Plan


def sweep(arguments: argparse.Namespace) -> int:
    """``priprune sweep``: check every cell, then run those that are not done."""
    check_ray(arguments)
    plan = _checked(arguments.sweep, arguments.set)
    from priprune_plugins.sweep.folder import SweepFolder

    folder = SweepFolder(arguments.out or Path("runs") / plan.sweep.name)
    if arguments.dry_run:
        _list(plan, folder)
        return 0
    if arguments.resume:
        folder.check_ours()
    else:
        folder.check_new()
    return _run(plan, folder, arguments)


def is_sweep(path: Path) -> bool:
    """Whether a file is a sweep's and not a scenario's, by its keys; one that cannot be read is neither."""
    from priprune_plugins.scenario.yaml_reader import read_yaml

    try:
        keys = read_yaml(path).plain()
    except ScenarioError:
        return False
    return isinstance(keys, dict) and bool({"base", "grid", "zip", "exclude", "figures"} & keys.keys())


def check_sweep(path: Path, overrides: Sequence[str]) -> None:
    """Check a sweep's file with all its cells and figures, and say how many there are."""
    plan = _checked(path, overrides)
    for warning in plan.warnings:
        print(f"priprune: warning: {warning}", file=sys.stderr)
    print(f"{path} is valid: {len(plan.cells)} cells, {_trainings(plan)} trainings, {len(plan.sweep.figures)} figures")


def _checked(path: Path, overrides: Sequence[str]) -> "Plan":
    from priprune_plugins.sweep import read_sweep
    from priprune_plugins.sweep.points import points, scenario_at

    # Before torch, which takes seconds to import: a typing error is answered at once.
    found = read_sweep(path, overrides)
    for point in points(found):
        scenario_at(found, point)
    from priprune_plugins.sweep.plan import make_plan

    return make_plan(found)


def _trainings(plan: "Plan") -> int:
    return len(plan.cells) - sum(len(cells) - 1 for cells in plan.shared().values())


def _run(plan: "Plan", folder: "SweepFolder", arguments: argparse.Namespace) -> int:
    from priprune_plugins.cli.sweep_progress import watched
    from priprune_plugins.report.sweep_page import write_sweep_report
    from priprune_plugins.sweep.schedule import run_sweep

    executor = _executor(plan, arguments)
    try:
        with folder.locked(), _stopped_by_sigterm(), watched(arguments.quiet) as watcher:
            folder.prepare(plan)
            for warning in plan.warnings:
                watcher.warn(warning)
            failed = run_sweep(plan, folder, executor, watcher)
    except KeyboardInterrupt as error:
        number = int(error.args[0]) if error.args else signal.SIGINT
        raise Interrupted("interrupted: done cells stay done; give --resume to go on", number) from error
    finally:
        executor.close()
    print(write_sweep_report(folder.path))
    if failed:
        _print_failed(plan, failed)
    return 1 if failed else 0


def _executor(plan: "Plan", arguments: argparse.Namespace) -> "Executor":
    threads = plan.sweep.threads
    if arguments.ray is not None:
        from priprune_plugins.sweep.ray_cluster import RayExecutor

        return RayExecutor(arguments.ray, threads)
    import torch

    from priprune_plugins.sweep.local import LocalExecutor

    devices = {cell.scenario.device for cell in plan.cells}
    gpus = _gpus(torch.cuda.device_count()) if devices != {"cpu"} else []
    if "cuda" in devices and not gpus:
        raise ScenarioError("device cuda is not there: torch sees no CUDA device; give device: cpu or auto")
    workers = arguments.workers or len(gpus) or max(1, _cores() // threads)
    return LocalExecutor(min(workers, len(plan.cells)), threads, gpus)


def _gpus(count: int) -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(index) for index in range(count)])[:count]


def _cores() -> int:
    # What this process may use, where the system says so: a container often has fewer than the machine.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _list(plan: "Plan", folder: "SweepFolder") -> None:
    states = folder.states(cell.key for cell in plan.cells)
    shared = plan.shared()
    table = _table("state", "key", "training", "cell")
    for cell in plan.cells:
        training = f"shared {cell.training_key}" if cell.training_key in shared else "own"
        for point in cell.points:
            table.add_row(*map(Text, (states[cell.key], cell.key, training, point.label)))
    _print(table)
    print(f"{len(plan.cells)} cells, {_trainings(plan)} trainings, in {folder.path}")


def _print_failed(plan: "Plan", failed: dict[str, str]) -> None:
    table = _table("failed cell", "error")
    for cell in plan.cells:
        if cell.key in failed:
            table.add_row(Text(cell.point.label), Text(failed[cell.key]))
    _print(table)
    print(f"{len(failed)} of {len(plan.cells)} cells failed; --resume tries them again")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _print(table: Table) -> None:
    # A terminal wraps what is too long; a table that cuts its own cells cannot be searched or copied.
    wide = Console(width=10_000)
    Console(width=max(Console().width, wide.measure(table).maximum)).print(table)


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let a SIGTERM end the sweep as Ctrl-C does, workers first."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
