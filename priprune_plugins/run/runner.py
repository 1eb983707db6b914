"""A whole run, or the rest of a stopped one: train, keep what is attacked, attack, measure, summarise, report."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from priprune_plugins.checkpoint.checkpoints import Checkpoint
from priprune_plugins.messages import Run
from priprune_plugins.plugins import PluginHost
from priprune_plugins.report import write_report
from priprune_plugins.run.alone import alone, alone_in_new
from priprune_plugins.run.assemble import Plugins, World, make_federation, make_plugins, make_world, scenario_warnings
from priprune_plugins.run.attack_files import keep_attack_states
from priprune_plugins.run.attack_stage import AttackStage, attack_all
from priprune_plugins.run.checkpointing import Checkpointer
from priprune_plugins.run.combinations import check_combinations
from priprune_plugins.run.environment import environment, provenance
from priprune_plugins.run.finished import is_finished
from priprune_plugins.run.folder import refuse_existing, write_json, write_text
from priprune_plugins.run.interruption import Stop, stop_on_signals
from priprune_plugins.run.layer_leakage import write_layer_leakage
from priprune_plugins.run.resume import changed_versions, read_environment, refuse_other_scenario, remove_partial
from priprune_plugins.run.state_folder import states_outside
from priprune_plugins.run.stopped import told_how_to_go_on
from priprune_plugins.run.summary import base_summary
from priprune_plugins.run.training import Training
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.options import resolved
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.scenario.writing import dump_yaml
from priprune_plugins.simulation.crew import MakeCrew
from priprune_plugins.simulation.federation import Federation


def run_scenario(
    scenario: Scenario,
    out: Path | None = None,
    watcher: Watcher | None = None,
    *,
    attacked: bool = True,
    resume: bool = False,
    crew: MakeCrew | None = None,
    command: str = "priprune run",
) -> Path:
    """Run a scenario and leave its run folder.

    Args:
        scenario: The checked scenario.
        out: The run folder to make; None = ``runs/<name>``.
        watcher: Is told what happens.
        attacked: False trains and keeps what is attacked, and leaves the attacks to
            :func:`~priprune_plugins.run.trained.attack_trained`.
        resume: Go on from the last whole checkpoint of the folder; from round 0 where there is none yet.
        crew: Makes who carries out the clients' training; None = this process.
        command: What a user who is told how to go on is told to type.

    Returns:
        The run folder.

    Raises:
        ScenarioError: Options, data or the folder are wrong, or the folder is of another scenario.
        PluginError: A plugin failed; what was computed before stays in the folder, which goes where no round was done.
        RunError: The disk is full, or no checkpoint is whole.
        Interrupted: SIGINT or SIGTERM; the message says how to go on.
    """
    watcher = watcher or Watcher()
    path = out or Path("runs") / scenario.name
    if not resume:
        refuse_existing(path)
    with stop_on_signals() as stop, told_how_to_go_on(path, stop, command):
        plugins = make_plugins(scenario)
        host = PluginHost(plugins.hooked)
        check_combinations(scenario, plugins, host)
        document = resolved(scenario, plugins.instances())
        with ExitStack() as held:
            # Before the data, and before any worker of a cluster: both take long.
            found = resume and path.exists()
            if found:
                held.enter_context(alone(path))
                refuse_other_scenario(path, document)
                remove_partial(path)
                if is_finished(path, scenario.states):
                    watcher.say(f"{path} is finished already")
                    return path
            world = make_world(scenario, plugins)
            federation = make_federation(scenario, plugins, world, host, crew)
            if not found:
                held.enter_context(alone_in_new(path, states_outside(path, scenario.states)))
            _Work(scenario, document, plugins, world, host, federation, watcher, stop).run(path, attacked)
        watcher.finish(path, json.loads((path / "summary.json").read_text(encoding="utf-8")))
    return path


@dataclass(frozen=True, eq=False)
class _Work:
    """One run from its live objects on."""

    scenario: Scenario
    document: dict[str, Any]
    plugins: Plugins
    world: World
    host: PluginHost
    federation: Federation
    watcher: Watcher
    stop: Stop

    def run(self, path: Path, attacked: bool) -> None:
        saver = Checkpointer(path, self.scenario, self.federation, self.watcher)
        self._describe(path)
        run = Run(folder=path, scenario=self.document, facts=self.world.facts)
        self.host.on_run_start(run)
        summary = self._trained(path, saver, saver.find())
        self._attacked(path, run, summary, attacked)
        saver.done()

    def _describe(self, folder: Path) -> None:
        if (folder / "environment.json").is_file():
            for message in changed_versions(read_environment(folder), made_with(self.plugins, self.world)):
                self.watcher.warn(message)
        else:
            write_scenario(folder, self.document, self.plugins, self.world)

    def _trained(self, folder: Path, saver: Checkpointer, found: Checkpoint | None) -> dict[str, Any]:
        """Train what is left to train and return the summary of the training."""
        summary = folder / "summary.json"
        # Without checkpoints the summary alone says that the training is over: it is written after it.
        if summary.is_file() and (found is None or found.manifest.stage == "trained"):
            return dict(json.loads(summary.read_text(encoding="utf-8")))
        return self._train(folder, saver, found)

    def _train(self, folder: Path, saver: Checkpointer, found: Checkpoint | None) -> dict[str, Any]:
        started = time.perf_counter()
        if found is None:
            saver.begin()
        else:
            saver.restore(found)
        warnings = scenario_warnings(self.scenario, self.plugins)
        for message in warnings:
            self.watcher.warn(message)
        federation = saver.federation
        training = Training(self.scenario, federation, self.host, folder, self.watcher, saver, self.stop, started)
        if found is not None:
            training.remember(found.state["run"], found.manifest.seconds)
        records = training.run(0 if found is None else found.manifest.next_round)
        warned = training.warnings(records)
        for message in warned:
            self.watcher.warn(message)
        summary = base_summary(self.scenario, self.world, federation, records, warnings + warned)
        summary |= training.setup
        summary["client_accuracy"] = training.client_accuracy()
        if federation.elsewhere is not None:
            federation.elsewhere.end()
        memory, seconds = training.memory()
        summary["seconds"] = round(seconds, 3)
        keep_attack_states(folder, self.plugins.attacks(), federation.server)
        write_json(folder / "summary.json", summary)
        saver.trained(memory, seconds)
        return summary

    def _attacked(self, folder: Path, run: Run, summary: dict[str, Any], attacked: bool) -> None:
        started, before = time.perf_counter(), summary["seconds"]

        def write(found: dict[str, Any]) -> None:
            seconds = before + time.perf_counter() - started
            write_json(folder / "summary.json", {**found, "seconds": round(seconds, 3)})

        stage = AttackStage(folder, self.world, self.scenario.seed, self.scenario.privacy)
        summary = attack_all(stage, self.plugins.attacks() if attacked else [], self.watcher, summary, write)
        self.host.on_run_end(run)
        write_layer_leakage(folder, self.world)
        write_report(folder)
        write(summary)


def write_scenario(folder: Path, document: Any, plugins: Plugins, world: World) -> None:
    """Write the resolved scenario, and with which versions and plugins it is run."""
    write_text(folder / "scenario.yaml", dump_yaml(document))
    write_json(folder / "environment.json", made_with(plugins, world))


def made_with(plugins: Plugins, world: World) -> dict[str, Any]:
    """Return the versions and the plugins' files that the figures depend on."""
    others: Sequence[tuple[str, object]] = [
        ("algorithm", plugins.algorithm),
        ("data", plugins.dataset),
        ("model", plugins.architecture),
    ]
    return {"environment": environment(world.device), "plugins": provenance(plugins.hooked, others)}
