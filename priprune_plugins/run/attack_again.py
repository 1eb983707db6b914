"""Attack the captures of a finished run: another attack on the same uploads, or the rest of one that was stopped."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from priprune_plugins.errors import Interrupted, ScenarioError
from priprune_plugins.plugins import Registered
from priprune_plugins.report import write_report
from priprune_plugins.run.alone import alone
from priprune_plugins.run.assemble import make_plugins, make_world, numbered, registered
from priprune_plugins.run.attack_files import described, made_with, unfinished
from priprune_plugins.run.attack_stage import AttackStage, attack_all
from priprune_plugins.run.folder import write_json
from priprune_plugins.run.interruption import stop_on_signals
from priprune_plugins.run.observed import all_captures
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario import read_scenario
from priprune_plugins.scenario.selection import Selection
from priprune_plugins.scenario.whole import Scenario


def attack_run(folder: Path, name: str, options: Mapping[str, Any], watcher: Watcher | None = None) -> str:
    """Run one attack on a run's captures, add its lines and draw the report anew.

    Args:
        folder: A run folder.
        name: Catalogue name or ``module:Class``.
        options: The attack's options; captures that the same attack with the same options has done are left alone.
        watcher: Is told what happens.

    Returns:
        The label under which the figures stand: the name, with a number where other options have taken it.

    Raises:
        ScenarioError: No run folder, no captures, or wrong options.
    """
    scenario = _scenario(folder)
    attack = labelled(folder, _made(scenario, name, options, f"--attack {name}"))
    _run(folder, scenario, [attack], watcher or Watcher())
    return attack.name


def finish_attacks(folder: Path, watcher: Watcher | None = None) -> list[str]:
    """Go on with every attack of a run that has not done all captures, and draw the report anew.

    Args:
        folder: A run folder.
        watcher: Is told what happens.

    Returns:
        The labels of the attacks that had something left to do.

    Raises:
        ScenarioError: No run folder, or no attack was ever begun on it.
    """
    scenario = _scenario(folder)
    begun = described(folder)
    if not begun:
        raise ScenarioError(f"{folder} has no attack to go on with: give --attack NAME")
    left = {label: begun[label] for label in unfinished(folder) if label in begun}
    attacks = [
        replace(_made(scenario, name, options, f"attack {label}"), name=label)
        for label, (name, options) in left.items()
    ]
    _run(folder, scenario, attacks, watcher or Watcher())
    return list(left)


def _scenario(folder: Path) -> Scenario:
    if not (folder / "scenario.yaml").is_file():
        raise ScenarioError(f"{folder} is no run folder: it has no scenario.yaml; give the folder of a finished run")
    if not (folder / "summary.json").is_file():
        raise ScenarioError(f"{folder} is an unfinished run: it has no summary.json; run its scenario.yaml again")
    if not all_captures(folder / "captures"):
        raise ScenarioError(f"{folder} holds no captures: run the scenario with attacks, capture or audit")
    return read_scenario(folder / "scenario.yaml", [])


def _made(scenario: Scenario, name: str, options: Mapping[str, Any], path: str) -> Registered:
    return registered(Selection("attacks", name, options, path, folders=scenario.federation.folders))


def _run(folder: Path, scenario: Scenario, attacks: list[Registered], watcher: Watcher) -> None:
    path = folder / "summary.json"
    with alone(folder), stop_on_signals() as stop:
        stage = AttackStage(folder, make_world(scenario, make_plugins(scenario)), scenario.seed, scenario.privacy)
        summary = json.loads(path.read_text(encoding="utf-8"))
        try:
            summary = attack_all(stage, attacks, watcher, summary, lambda found: write_json(path, found))
        except KeyboardInterrupt as error:
            left = ", ".join(f"{label} has {count}" for label, count in unfinished(folder).items())
            message = f"interrupted; uploads left: {left}; to go on: priprune attack {folder}"
            raise Interrupted(message, stop.number) from error
        write_report(folder)
    watcher.finish(folder, summary)


def labelled(folder: Path, attack: Registered) -> Registered:
    """Return an attack under the label of its figures: its name, with a number where other options have taken it."""
    for number in count(1):
        label = numbered(attack.name, number)
        if made_with(folder, label) in (None, repr(attack.plugin)):
            return replace(attack, name=label)
    raise AssertionError("unreachable: the labels do not end")
