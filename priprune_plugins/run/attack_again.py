"""Attack the captures of a finished run again, so that attackers are compared on the same uploads."""

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from priprune_plugins.errors import ScenarioError
from priprune_plugins.plugins import Registered
from priprune_plugins.report import write_report
from priprune_plugins.run.assemble import make_plugins, make_world, registered
from priprune_plugins.run.attack_stage import AttackStage, made_with
from priprune_plugins.run.folder import read_lines, write_json
from priprune_plugins.run.summary import with_attacks
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario import read_scenario
from priprune_plugins.scenario.sections import Selection


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
    watcher = watcher or Watcher()
    if not (folder / "scenario.yaml").is_file():
        raise ScenarioError(f"{folder} is no run folder: it has no scenario.yaml; give the folder of a finished run")
    if not (folder / "summary.json").is_file():
        raise ScenarioError(f"{folder} is an unfinished run: it has no summary.json; run its scenario.yaml again")
    scenario = read_scenario(folder / "scenario.yaml", [])
    attack = _labelled(folder, registered(Selection("attacks", name, options, f"--attack {name}"), name))
    stage = AttackStage(
        folder, make_world(scenario, make_plugins(scenario)), scenario.seed, scenario.privacy.nmi_levels
    )
    todo = stage.todo(attack.name)
    if not todo and not any(line["attack"] == attack.name for line in read_lines(folder / "privacy.jsonl")):
        raise ScenarioError(f"{folder} holds no captures: run the scenario with attacks, capture or audit")
    watcher.attack_begins(attack.name, len(todo))
    stage.run(attack, watcher.attack_progress)
    watcher.attack_done(attack.name)
    summary = with_attacks(json.loads((folder / "summary.json").read_text(encoding="utf-8")), folder)
    write_json(folder / "summary.json", summary)
    write_report(folder)
    watcher.finish(summary)
    return attack.name


def _labelled(folder: Path, attack: Registered) -> Registered:
    short = attack.name.rpartition(":")[2]
    for number in count(1):
        label = short if number == 1 else f"{short}-{number}"
        if made_with(folder, label) in (None, repr(attack.plugin)):
            return Registered(attack.kind, label, attack.key, attack.plugin)
    raise AssertionError("unreachable: the labels do not end")
