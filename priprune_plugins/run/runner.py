"""A whole run: train, keep what is attacked, attack, measure, summarise, report."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from priprune_plugins.messages import Run
from priprune_plugins.plugins import PluginHost
from priprune_plugins.report import write_report
from priprune_plugins.run.assemble import Plugins, World, make_federation, make_plugins, make_world, scenario_warnings
from priprune_plugins.run.attack_stage import AttackStage
from priprune_plugins.run.environment import environment, provenance
from priprune_plugins.run.folder import new_folder, refuse_existing, write_json, write_text
from priprune_plugins.run.summary import base_summary, with_attacks
from priprune_plugins.run.training import Training
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.options import resolved
from priprune_plugins.scenario.sections import Scenario
from priprune_plugins.scenario.writing import dump_yaml


def run_scenario(scenario: Scenario, out: Path | None = None, watcher: Watcher | None = None) -> Path:
    """Run a scenario and leave its run folder.

    Args:
        scenario: The checked scenario.
        out: The run folder to make; None = ``runs/<name>``.
        watcher: Is told what happens.

    Returns:
        The run folder.

    Raises:
        ScenarioError: Options, data or the folder are wrong.
        PluginError: A plugin failed; what was computed before stays in the folder.
    """
    started = time.perf_counter()
    watcher = watcher or Watcher()
    path = out or Path("runs") / scenario.name
    refuse_existing(path)
    plugins = make_plugins(scenario)
    host = PluginHost(plugins.hooked)
    world = make_world(scenario, plugins)
    federation = make_federation(scenario, plugins, world, host)
    folder = new_folder(path)
    document = resolved(scenario, _instances(scenario, plugins))
    _write_scenario(folder, document, scenario, plugins, world)
    run = Run(folder=folder, scenario=document, facts=world.facts)
    warnings = scenario_warnings(scenario, plugins)
    for message in warnings:
        watcher.warn(message)
    training = Training(scenario, federation, host, folder, watcher)
    host.on_run_start(run)
    records = training.run()
    found = training.warnings(records)
    for message in found:
        watcher.warn(message)
    summary = base_summary(scenario, world, federation, records, warnings + found)
    summary |= training.setup
    summary["client_accuracy"] = training.client_accuracy()
    _write_summary(folder, summary, started)
    stage = AttackStage(folder, world, scenario.seed, scenario.privacy.nmi_levels)
    for attack in plugins.attacks():
        watcher.attack_begins(attack.name, len(stage.todo(attack.name)))
        stage.run(attack, watcher.attack_progress)
        watcher.attack_done(attack.name)
        summary = with_attacks(summary, folder)
        _write_summary(folder, summary, started)
    host.on_run_end(run)
    write_report(folder)
    _write_summary(folder, summary, started)
    watcher.finish(summary)
    return folder


def _write_summary(folder: Path, summary: dict[str, Any], started: float) -> None:
    summary["seconds"] = round(time.perf_counter() - started, 3)
    write_json(folder / "summary.json", summary)


def _instances(scenario: Scenario, plugins: Plugins) -> list[object]:
    hooked = [entry.plugin for entry in plugins.hooked]
    return [plugins.algorithm, *hooked, plugins.dataset, plugins.architecture]


def _write_scenario(folder: Path, document: Any, scenario: Scenario, plugins: Plugins, world: World) -> None:
    write_text(folder / "scenario.yaml", dump_yaml(document))
    others: Sequence[tuple[str, object]] = [
        ("algorithm", plugins.algorithm),
        ("data", plugins.dataset),
        ("model", plugins.architecture),
    ]
    made_with = {"environment": environment(world.device), "plugins": provenance(plugins.hooked, others)}
    write_json(folder / "environment.json", made_with)
