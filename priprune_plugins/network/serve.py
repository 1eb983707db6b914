"""``priprune serve``: a run whose clients live in joined processes."""

from pathlib import Path

from priprune_plugins.errors import PriPruneError, RunError, ScenarioError
from priprune_plugins.network.crew import NetworkCrew
from priprune_plugins.network.identity import identity
from priprune_plugins.network.listener import Listener
from priprune_plugins.network.roster import GoneError, Roster
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run import run_scenario
from priprune_plugins.run.assemble import Plugins, make_plugins
from priprune_plugins.run.stopped import standing
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.sections import NetworkSection
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.simulation.client_round import ClientRunner

_COMMAND = "priprune serve"


def serve(
    scenario: Scenario,
    listener: Listener,
    token: bytes,
    out: Path | None = None,
    watcher: Watcher | None = None,
    *,
    resume: bool = False,
) -> Path:
    """Run a scenario with clients that join; the folder holds what a standalone run would leave, bit for bit.

    Args:
        scenario: The checked scenario.
        listener: The server's address; closed at the end.
        token: What a process must hold to join.
        out: The run folder to make; None = ``runs/<name>``.
        watcher: Is told what happens.
        resume: Go on from the last whole checkpoint of the folder.

    Returns:
        The run folder.

    Raises:
        ScenarioError, PluginError, RunError, Interrupted: As :func:`~priprune_plugins.run.run_scenario`.
        RunError: Nobody joined in time, or every joined process is gone.
    """
    door = _Door(scenario, listener, token, watcher or Watcher())
    try:
        return run_scenario(scenario, out, watcher, resume=resume, crew=door.crew, command=_COMMAND)
    except GoneError as error:
        raise RunError(f"{error}; {standing(out or Path('runs') / scenario.name, _COMMAND)}") from error
    except BaseException as error:
        expected = isinstance(error, PriPruneError | KeyboardInterrupt)
        door.close(str(error) if expected and str(error) else type(error).__name__)
        raise
    finally:
        door.close("it is done")


class _Door:
    """Opens when the run has been assembled, and closes once.

    Args:
        scenario: The scenario.
        listener: The address.
        token: What a process must hold.
        watcher: Is told who comes and goes.
    """

    def __init__(self, scenario: Scenario, listener: Listener, token: bytes, watcher: Watcher) -> None:
        self._scenario = scenario
        self._listener = listener
        self._token = token
        self._watcher = watcher
        self._roster: Roster | None = None

    def crew(self, runner: ClientRunner) -> NetworkCrew:
        """Return the crew of a run, and let processes join it."""
        scenario, section = self._scenario, self._scenario.network or NetworkSection()
        plugins, clients = make_plugins(scenario), runner.training.num_clients
        if section.processes > clients:
            raise ScenarioError(
                f"network.processes must be at most the number of clients ({clients}), got {section.processes}; "
                "lower it"
            )
        self._check_sums(plugins)
        agreed = identity(scenario, plugins, runner.data, runner.trainer.model)
        self._roster = Roster(section, self._token, agreed, clients, self._watcher)
        crew = NetworkCrew(self._roster, scenario.aggregation.nonfinite, runner)
        self._listener.open(self._roster.receive)
        host, port = self._listener.address
        self._watcher.say(f"waiting for {section.processes} processes at {host}:{port}")
        return crew

    def close(self, reason: str) -> None:
        """Let nobody in any more, and tell those who are there why."""
        self._listener.close()
        if self._roster is not None:
            self._roster.let_go("stopped", reason)

    def _check_sums(self, plugins: Plugins) -> None:
        if not PluginHost(plugins.hooked).implements("sum_uploads"):
            return
        if plugins.algorithm.stateful:
            raise ScenarioError(
                "secure sums with an algorithm that remembers clients cannot be served: a client whose upload is lost "
                "would have to take its round back; use priprune run"
            )
        self._watcher.warn("secure sums are formed in the server's process, to which each upload travels in clear")
