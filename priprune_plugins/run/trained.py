"""A run whose training was done before: several scenarios that differ only in their attacks share one."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from priprune_plugins.errors import ScenarioError
from priprune_plugins.plugins import PluginHost
from priprune_plugins.report import write_report
from priprune_plugins.run.alone import alone
from priprune_plugins.run.assemble import make_plugins, make_world
from priprune_plugins.run.attack_stage import AttackStage, attack_all
from priprune_plugins.run.folder import new_folder, write_json
from priprune_plugins.run.interruption import stop_on_signals
from priprune_plugins.run.runner import write_scenario
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.options import resolved
from priprune_plugins.scenario.whole import Scenario

# What belongs to the attacks, or names the run; everything else is the training's.
_OWN = frozenset(
    {"scenario.yaml", "environment.json", "privacy.jsonl", "summary.json", "report.html", "reconstructions", "cache"}
)


def attack_trained(scenario: Scenario, trained: Path, out: Path, watcher: Watcher | None = None) -> Path:
    """Leave the run folder of a scenario whose training another run has done, bit for bit as if it had done its own.

    Args:
        scenario: The checked scenario; it may differ from that of ``trained`` in its name and its attacks.
        trained: A run folder; its files are linked where the file system can, else copied.
        out: The run folder to make; one that an interrupt left is gone on with.
        watcher: Is told what happens.

    Returns:
        The run folder. Its seconds are those of the training and of its own attacks.

    Raises:
        ScenarioError: An attack watches the server during training, which is over.
        PluginError: An attack failed; what was computed before stays in the folder.
        Interrupted: SIGINT or SIGTERM; what was computed before stays in the folder.
    """
    started = time.perf_counter()
    watcher = watcher or Watcher()
    plugins = make_plugins(scenario)
    if PluginHost(plugins.attacks()).implements("on_server_receive"):
        raise ScenarioError(f"an attack of {scenario.name} watches the server during training: run the scenario whole")
    world = make_world(scenario, plugins)
    if not (out / "scenario.yaml").is_file():
        shutil.rmtree(out, ignore_errors=True)
        _link(trained, new_folder(out))
        # Last, so that it says that everything is linked.
        write_scenario(out, resolved(scenario, plugins.instances()), plugins, world)
    before = json.loads((trained / "summary.json").read_text(encoding="utf-8"))

    def write(found: Mapping[str, Any]) -> None:
        seconds = before["seconds"] + time.perf_counter() - started
        write_json(out / "summary.json", {**found, "seconds": round(seconds, 3)})

    stage = AttackStage(out, world, scenario.seed, scenario.privacy)
    with alone(out), stop_on_signals():
        summary = attack_all(stage, plugins.attacks(), watcher, {**before, "name": scenario.name}, write)
        write_report(out)
    watcher.finish(out, summary)
    return out


def _link(source: Path, target: Path) -> None:
    for path in sorted(source.iterdir()):
        if path.name in _OWN:
            continue
        if path.is_dir():
            shutil.copytree(path, target / path.name, copy_function=_linked)
        else:
            _linked(path, target / path.name)


def _linked(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
