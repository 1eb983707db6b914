"""What goes wrong, by whose doing: the user's input, a plugin, or the run itself."""


class PriPruneError(Exception):
    """An error whose message is meant to be read by a user, without a traceback."""

    exit_code = 1


class ScenarioError(PriPruneError):
    """The user's input is wrong: a scenario, an option, a folder, a missing data set.

    The message names place, what, got, allowed and the next step, in one line.
    """

    exit_code = 2


class PluginError(PriPruneError):
    """A plugin broke the contract or raised; the message names the plugin and the hook."""


class PluginRuleError(PluginError):
    """A plugin breaks a rule that is checked before the run starts; nothing has been computed."""

    exit_code = 2


class Interrupted(KeyboardInterrupt):
    """The user, or who manages the machine, asked the run to stop; the message says how to go on.

    Args:
        message: One line.
        signal: Number of the signal that asked.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


class RunError(PriPruneError):
    """The run could not go on although the input was right, a full disk for instance."""


def missing_extra(what: str, package: str, extra: str) -> ScenarioError:
    """Return the error of what needs a package that is not installed.

    Args:
        what: Who needs it.
        package: What it needs.
        extra: The project's extra that brings it.
    """
    return ScenarioError(
        f"{what} needs {package}, which is not installed: begin the command with uv run --extra {extra} instead of uv "
        f"run, or pip install -e '.[{extra}]' in the project's folder"
    )
